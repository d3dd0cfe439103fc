// The search page: asks the server on this machine, shows what it says. All of it as text, never as markup.
const LIST = 48, TRIES = 10;
const $ = (selector) => document.querySelector(selector);
const verdict = $("#verdict"), dialog = $("#context");
let facts = {upload_bytes: Infinity}, query = null, answers = null, asking = 0, listed = 0;

function el(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function say(text, kind = "") {
  verdict.className = `message ${kind}`;
  verdict.setAttribute("role", kind === "error" ? "alert" : "status");
  verdict.textContent = text;
  verdict.hidden = !text;
}

async function ask(path, options = {}) {
  for (let turn = 1; ; turn++) {
    const reply = await fetch(path, options).catch(() => { throw new Error("The server does not answer. Is reidlib serve still running?"); });
    if (reply.status === 503 && turn < TRIES) {
      say("Many are searching; waiting for a turn …");
      await new Promise((done) => setTimeout(done, 1000 * (Number(reply.headers.get("Retry-After")) || 2)));
      continue;
    }
    const told = await reply.json();
    if (!reply.ok) throw new Error(told.error);
    return told;
  }
}

function limits() {
  const asked = new URLSearchParams();
  for (const box of $("#cameras").querySelectorAll("input:checked")) asked.append("camera", box.value);
  for (const name of ["since", "until"]) if ($(`#${name}`).value) asked.set(name, $(`#${name}`).value);
  return asked;
}

// Cards and pictures.

function told(picture) {
  const names = [["camera", "camera"], ["time", "time"], ["tracklet", "tracklet"], ["identity", "identity"]];
  return names.filter(([key]) => picture[key] !== "").map(([key, word]) => [word, picture[key] + (key === "time" && facts.clock ? " UTC" : "")]);
}

function inWords(picture) {
  return [picture.name, ...told(picture).map((pair) => pair.join(" "))].join(", ");
}

function thumbnail(picture) {
  return el("img", {src: `/thumbnail/${picture.row}`, alt: "", loading: "lazy", draggable: false});
}

function pictureButton(picture, verb, onclick) {
  const button = el("button", {className: "picture", type: "button", title: inWords(picture), onclick}, thumbnail(picture));
  button.setAttribute("aria-label", `${verb} ${inWords(picture)}`);
  return button;
}

function answerCard(answer) {
  const card = el("li", {className: "card answer"}, pictureButton(answer, "Open", () => openContext(answer.row)));
  const text = el("div", {}, el("p", {}, el("strong", {textContent: `${answer.rank}. `}), answer.words || "alike"));
  if (answer.probability !== null) {
    const bar = el("i");
    bar.style.width = `${100 * answer.probability}%`;
    const shown = el("span", {className: "bar"}, bar);
    shown.setAttribute("aria-hidden", "true");
    text.append(shown, el("p", {}, `P(same) ${answer.probability.toFixed(2)} `, answer.known ? el("span", {className: "chip right-text", textContent: "known"}) : ""));
  }
  text.append(el("p", {className: "quiet", textContent: `similarity ${answer.similarity.toFixed(3)}`}));
  text.append(el("p", {textContent: told(answer).map((pair) => pair.join(" ")).join(" · ")}));
  text.append(el("p", {className: "quiet name", textContent: answer.name, title: answer.path}));
  card.append(text);
  return card;
}

// Searching.

async function search() {
  if (query === null) return;
  const mine = ++asking, asked = limits();
  asked.set("count", $("#count").value);
  if ($("#every").checked) asked.set("every", "");
  if (query.row !== undefined) asked.set("row", query.row);
  say("Searching …");
  $("#results").setAttribute("aria-busy", "true");
  try {
    const found = await ask(`/search?${asked}`, {method: "POST", body: query.file ?? "", headers: {"Content-Type": "application/octet-stream"}});
    if (mine !== asking) return;
    answers = found;
    $("#results").hidden = !found.answers.length;
    $(".answers").replaceChildren(...found.answers.map((answer, place) => answerCard({...answer, rank: place + 1})));
    say(found.verdict, found.nobody || !found.answers.length ? "nobody" : "");
    if (verdict.getBoundingClientRect().top > 0.6 * innerHeight) verdict.scrollIntoView();
  } catch (error) {
    if (mine !== asking) return;
    $("#results").hidden = true;
    say(error.message, "error");
  } finally {
    if (mine === asking) $("#results").removeAttribute("aria-busy");
  }
}

function showQuery(source, words) {
  const image = $("#query img"), former = image.src;
  image.hidden = false;
  image.onerror = () => { image.hidden = true; };  // a format that browsers do not show
  image.src = source;
  if (former.startsWith("blob:")) URL.revokeObjectURL(former);
  $("#query figcaption").textContent = words;
  $("#query").hidden = false;
}

function searchFile(file) {
  if (!file) return say("That is no picture file. Save the picture first, then drop or choose the file.", "error");
  if (location.hash.startsWith("#row=")) history.pushState(null, "", location.pathname);
  query = {file};
  showQuery(URL.createObjectURL(file), `searching for ${file.name || "the pasted picture"}`);
  if (file.size > facts.upload_bytes) {
    query = null;
    $("#results").hidden = true;
    return say(`${file.name} is over ${facts.upload_bytes / 2 ** 20} MiB; save it smaller.`, "error");
  }
  return search();
}

async function searchRow(row) {
  query = {row};
  showQuery(`/thumbnail/${row}`, `searching for row ${row} of the gallery`);
  const found = search();
  const context = await ask(`/context/${row}`).catch(() => null);
  if (context && query?.row === row) $("#query figcaption").textContent = `searching for ${inWords(context.picture)}`;
  await found;
}

function fromAddress() {
  const row = location.hash.match(/^#row=(\d+)$/);
  if (row) searchRow(Number(row[1]));
}

function goToRow(row) {
  if (dialog.open) dialog.close();
  window.scrollTo(0, 0);
  if (location.hash === `#row=${row}`) searchRow(row);
  else location.hash = `row=${row}`;
}

function saveList() {
  const link = el("a", {href: URL.createObjectURL(new Blob([answers.csv], {type: "text/csv"})), download: "answers.csv"});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// A hit in its context.

async function openContext(row) {
  let around;
  try { around = await ask(`/context/${row}`); } catch (error) { return say(error.message, "error"); }
  const picture = around.picture;
  $("#context-title").textContent = picture.name;
  const image = dialog.querySelector(".hit img");
  image.src = `/thumbnail/${row}`;
  image.alt = inWords(picture);
  const lines = [...told(picture), ["file", picture.path], ["row", row]];
  dialog.querySelector("dl").replaceChildren(...lines.flatMap(([word, value]) => [el("dt", {textContent: word}), el("dd", {textContent: value})]));
  $("#search-this").onclick = () => goToRow(row);
  fill($("#tracklet"), around.tracklet, row, `Its tracklet: ${counted(around.tracklet.total)}`);
  fill($("#around"), around.camera, row, picture.camera === "" ? "Before and after it" : `Before and after it on camera ${picture.camera}`);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  $("#search-this").focus();
}

function fill(section, some, current, title) {
  section.hidden = !some.pictures.length;
  section.querySelector("h3").textContent = title;
  section.querySelector("ul").replaceChildren(...some.pictures.map((picture) => {
    const button = pictureButton(picture, "Open", () => openContext(picture.row));
    if (picture.row === current) {
      button.classList.add("chosen");
      button.setAttribute("aria-current", "true");
    }
    if (picture.time !== "") button.append(el("span", {textContent: picture.time}));
    return el("li", {}, button);
  }));
}

// The gallery.

function counted(number) {
  return `${number.toLocaleString("en")} picture${number === 1 ? "" : "s"}`;
}

async function list(more = false) {
  const asked = limits();
  asked.set("offset", more ? listed : 0);
  asked.set("count", LIST);
  try {
    const found = await ask(`/pictures?${asked}`);
    const items = found.pictures.map((picture) => el("li", {}, pictureButton(picture, "Search for", () => goToRow(picture.row))));
    if (!more) $("#gallery ul").replaceChildren();
    $("#gallery ul").append(...items);
    listed = (more ? listed : 0) + items.length;
    $("#gallery-count").textContent = found.total ? `Click a picture to search for it. ${counted(listed)} of ${found.total.toLocaleString("en")} shown.` : "No picture passes the limits.";
    $("#more").hidden = listed >= found.total;
    if (more) items[0]?.querySelector("button").focus();
  } catch (error) { say(error.message, "error"); }
}

// What a person does.

function listen() {
  $("#file").onchange = (event) => { searchFile(event.target.files[0]); event.target.value = ""; };
  $("#limits").onchange = () => { search(); list(); };
  $("#limits").onsubmit = (event) => event.preventDefault();
  $("#save").onclick = saveList;
  $("#more").onclick = () => list(true);
  $("#close").onclick = () => dialog.close();
  dialog.onclick = (event) => { if (event.target === dialog) dialog.close(); };
  window.onhashchange = fromAddress;
  document.ondragover = (event) => { event.preventDefault(); $("#drop").classList.add("over"); };
  document.ondragleave = (event) => { if (!event.relatedTarget) $("#drop").classList.remove("over"); };
  document.ondrop = (event) => { event.preventDefault(); $("#drop").classList.remove("over"); searchFile(event.dataTransfer.files[0]); };
  document.onpaste = (event) => {
    const file = event.clipboardData.files[0];
    if (file || !event.target.closest("input")) searchFile(file);
  };
}

async function open() {
  listen();
  try { facts = await ask("/facts"); } catch (error) { return say(error.message, "error"); }
  const times = facts.first === "" ? "" : `, from ${facts.first} to ${facts.last}${facts.clock ? " UTC" : ""}`;
  const cameras = facts.cameras.length ? ` of ${facts.cameras.length} camera${facts.cameras.length === 1 ? "" : "s"}` : "";
  $("#facts").textContent = `${counted(facts.pictures)}${cameras}${times}, by ${facts.model}`;
  for (const name of ["since", "until"]) {
    $(`#${name}-label`).hidden = facts.first === "";
    Object.assign($(`#${name}`), facts.clock ? {type: "datetime-local", step: 1} : {type: "number", step: "any"});
    if (!facts.clock) $(`#${name}`).placeholder = name === "since" ? facts.first : facts.last;
  }
  $("#every-label").hidden = !facts.tracklets;
  $("#cameras").hidden = facts.cameras.length < 2;
  $("#cameras .controls").append(...facts.cameras.map((camera) => {
    const box = el("input", {type: "checkbox", name: "camera"});
    box.value = camera.name;
    return el("label", {}, box, camera.name, el("span", {className: "quiet", textContent: counted(camera.pictures)}));
  }));
  await Promise.all([list(), fromAddress()]);
  document.documentElement.dataset.ready = "true";
}

open();
