// Everything begins here, after all that is used has been defined.
startClusters();
startSearch();
startMap();
startQuestions();
window.addEventListener("beforeprint", () => { document.getElementById("run").open = true; });
document.documentElement.dataset.ready = "true";
