// One pair after the other: are these two the same individual? The panel of the report and of `reidlib ask`.
const ANSWERS = [["s", "same", "Same"], ["d", "different", "Different"], ["k", "skip", "Skip"], ["u", "undo", "Undo"]];
const PAUSE = 350; // milliseconds for which a pair is seen before it takes an answer, so that a double press gives one

const inWords = (picture) => [picture.name, ...picture.told.map((pair) => pair.join(" "))].join(", ");
const plainPicture = (picture) => make("li", { class: "picture", title: inWords(picture) },
  make("img", { src: picture.source, alt: inWords(picture), decoding: "async" }));

/** A picture, what is told of it, and strips of further ones. */
function askedSide(picture, place, thumbnail) {
  const facts = picture.told.map(([word, text]) => make("div", {}, make("dt", {}, word), make("dd", {}, text)));
  const strips = picture.strips.map(({ title, total, pictures: some }) => make("div", { class: "strip" },
    make("h3", {}, `${title}: ${total > some.length ? `${some.length} of ${total}` : `${total} more`}`),
    make("ul", { class: "pictures" }, ...some.map(thumbnail))));
  return make("figure", { class: "side panel", "aria-label": `${place} picture` },
    make("img", { class: "asked", src: picture.source, alt: `${place} picture: ${inWords(picture)}` }),
    make("figcaption", {}, make("strong", { class: "name", title: picture.path }, picture.name), make("dl", {}, ...facts), ...strips));
}

/**
 * Put the panel into `place`. `answer(what)` and `undo()` give promises, by the end of which they have called `show`.
 * Keys are heard by `keys`; `thumbnail` makes a small picture.
 */
function askingPanel(place, { answer, undo, keys = place, thumbnail = plainPicture }) {
  const two = make("div", { class: "two" });
  const message = make("p", { class: "message", hidden: true });
  const bar = make("progress", { "aria-label": "answered" });
  const told = make("span", { class: "told", role: "status" });
  const buttons = ANSWERS.map(([key, what, word]) => make("button", {
    type: "button", class: `answer-${what}`, "aria-keyshortcuts": key, onclick: () => press(what),
  }, word, " ", make("kbd", { "aria-hidden": "true" }, key)));
  place.classList.add("asking");
  place.append(message, two, make("div", { class: "keys" }, ...buttons), make("p", { class: "controls quiet" }, bar, told));
  let [turn, open] = [0, false];

  function press(what) {
    const button = buttons[ANSWERS.findIndex(([, name]) => name === what)];
    if (!open || button.hidden || button.disabled) return;
    const before = turn;
    setOpen(false);
    place.setAttribute("aria-busy", "true");
    (what === "undo" ? undo() : answer(what)).finally(() => {
      place.removeAttribute("aria-busy");
      if (turn === before) setOpen(true); // nothing else is shown: it may be tried again
    });
  }

  function setOpen(value) {
    open = value;
    place.dataset.open = value;
  }

  /** Show a pair, or in its place, where there is none, an element; with how many are answered, and a sentence on that. */
  async function show(pair, { given, count, text, undoable, instead }) {
    const mine = ++turn;
    setOpen(false);
    two.replaceChildren(...(pair ? pair.map((picture, side) => askedSide(picture, side ? "right" : "left", thumbnail)) : [instead]));
    for (const button of buttons.slice(0, 3)) button.hidden = !pair;
    buttons[3].disabled = !undoable;
    Object.assign(bar, { max: count, value: given });
    told.textContent = text;
    await Promise.all([...two.querySelectorAll("img.asked")].map((image) => image.decode().catch(() => {})));
    setTimeout(() => { if (mine === turn) setOpen(true); }, PAUSE);
  }

  function say(text, kind = "") {
    message.className = `message ${kind}`;
    message.setAttribute("role", kind === "error" ? "alert" : "status");
    message.textContent = text;
    message.hidden = !text;
  }

  keys.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select, textarea, dialog")) return;
    const found = ANSWERS.find(([key]) => key === event.key.toLowerCase());
    if (!found && !(event.repeat && buttons.includes(event.target))) return;
    event.preventDefault();
    if (found && !event.repeat) press(found[1]);
  });
  return { show, say };
}
