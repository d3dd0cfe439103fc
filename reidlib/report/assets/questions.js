// Pairs that are worth a person's answer, one after the other; the answers stay in the page until they are saved.
const answers = []; // { pair, answer }, in the order in which they were given
let savedAnswers = 0;

/** Whether the answer to a pair follows from those that were given, and from what is known without. */
function follows(pair) {
  const joined = new Map();
  const rootOf = (group) => (joined.has(group) ? rootOf(joined.get(group)) : group);
  const roots = (one) => one.map((side) => rootOf(side.group));
  for (const { pair: known, answer } of answers) {
    const [a, b] = roots(known);
    if (answer === "same" && a !== b) joined.set(a, b);
  }
  const [a, b] = roots(pair);
  const different = [...facts.questions.apart.map((groups) => groups.map(rootOf)),
    ...answers.filter(({ answer }) => answer === "different").map(({ pair: known }) => roots(known))];
  return a === b || different.some((ends) => ends.includes(a) && ends.includes(b));
}

function linksFile() {
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = answers.map(({ pair, answer }) => [...pair.map((side) => side.name), answer].map(cell).join(","));
  return ["first,second,answer", ...lines, ""].join("\n");
}

function saveLinks() {
  const link = make("a", { href: URL.createObjectURL(new Blob([linksFile()], { type: "text/csv" })), download: "links.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  savedAnswers = answers.length;
}

function askedPicture(number) {
  const path = pictures.path[number];
  return { number, path, name: path.split(/[/\\]/).pop(), source: source(number), told: [["camera", cameras[pictures.camera[number]]]] };
}

function startQuestions() {
  const { pairs } = facts.questions;
  const save = document.getElementById("save-links");
  const panel = askingPanel(document.getElementById("questions"), {
    answer: async (answer) => { answers.push({ pair: current, answer }); next(); },
    undo: async () => { answers.pop(); next(); },
    thumbnail: ({ number }) => make("li", {}, pictureButton(number)),
  });
  let current = null;

  function next() {
    const left = pairs.filter((pair) => !answers.some((one) => one.pair === pair));
    const open = left.filter((pair) => !follows(pair));
    current = open[0] ?? null;
    const number = (what) => answers.filter(({ answer }) => answer === what).length;
    const following = left.length > open.length ? ` · of ${left.length - open.length} the answer follows` : "";
    save.disabled = !answers.length;
    panel.show(current?.map((side) => ({
      ...askedPicture(side.picture),
      strips: side.strips.map(([title, numbers, total]) => ({ title, total, pictures: numbers.map(askedPicture) })),
    })), {
      given: answers.length, count: pairs.length || 1, undoable: answers.length > 0,
      text: `${answers.length} of ${pairs.length} answered: ${number("same")} same, ${number("different")} different, ${number("skip")} skipped${following}`,
      instead: current ? null : make("p", { class: "panel" }, pairs.length ? "That is all that this page asks; save the answers." : "No pair is left whose answer could change anything."),
    });
  }
  lazily(document.getElementById("asking"), next);
  save.addEventListener("click", saveLinks);
  window.addEventListener("beforeunload", (event) => { if (answers.length !== savedAnswers) event.preventDefault(); });
}
