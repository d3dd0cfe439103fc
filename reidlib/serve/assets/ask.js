// The page of `reidlib ask`: shows the pair that the server asks about, sends what is answered, by the pair's rows.
const panel = askingPanel(document.getElementById("asking"), {
  keys: document,
  answer: (answer) => send("/answer", { first: state.question.first, second: state.question.second, answer }),
  undo: () => send("/undo", { first: state.last[0], second: state.last[1] }),
});
let state = null, token = "";

async function ask(path, options) {
  const reply = await fetch(path, options).catch(() => {
    throw new Error("The server does not answer. Is reidlib ask still running? All answers before this one are kept.");
  });
  const told = await reply.json();
  if (!reply.ok) throw new Error(told.error);
  return told;
}

async function send(path, what) {
  try {
    show(await ask(path, { method: "POST", body: JSON.stringify({ ...what, token }) }));
    panel.say("");
  } catch (error) {
    panel.say(error.message, "error");
    await load().catch(() => {}); // it is shown what is asked now
  }
}

async function load() {
  const told = await ask("/state");
  token = told.token;
  show(told);
}

function inSentence({ given, count, answers, clusters }) {
  const change = clusters.now - clusters.before;
  const changed = change ? `, ${Math.abs(change)} ${change < 0 ? "fewer" : "more"} than when this page was opened` : "";
  return `${given} of ${count} answered · links.csv: ${answers.same} same, ${answers.different} different, ${answers.skip} skipped · ${clusters.now} clusters${changed}`;
}

function theEnd() {
  const why = state.given >= state.count ? `${state.given} questions are answered.` : "Nothing more is worth asking: no pair is left whose answer could change anything.";
  return make("div", { class: "panel" }, make("p", {}, make("strong", {}, why)),
    make("p", {}, "Train with the answers: ", make("code", {}, state.training)),
    make("p", {}, "For more questions, call ", make("code", {}, "reidlib ask"), " again."));
}

function show(told) {
  state = told;
  document.getElementById("file").textContent = state.file;
  panel.show(state.question?.sides, {
    given: state.given, count: state.count, text: inSentence(state), undoable: state.last !== null, instead: state.question ? null : theEnd(),
  });
}

load().then(() => { document.documentElement.dataset.ready = "true"; }, (error) => panel.say(error.message, "error"));
