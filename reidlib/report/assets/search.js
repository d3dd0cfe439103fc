// Who looks like a picture: its ranked gallery in a dialog, and the queries that are worth a look.
const dialog = document.getElementById("who");
const among = document.getElementById("who-among");
const onCamera = document.getElementById("who-camera");
const others = document.getElementById("who-others");
const EACH = 40;
let trail = [];
let hits = [];
let shownHits = 0;

/** Numbers of the pictures most similar to one, best first. */
function ranked(number, { splits, camera = "", elsewhere = false }) {
  const scores = cosines(number);
  const own = pictures.camera[number];
  const found = [];
  for (let other = 0; other < count; other++) {
    const place = pictures.camera[other];
    if (other !== number && splits.includes(pictures.split[other]) && !(elsewhere && place === own) && (camera === "" || place === Number(camera)))
      found.push(other);
  }
  return found.sort((a, b) => scores[b] - scores[a] || a - b).map((other) => [other, probability(scores[other], number, other)]);
}

function hitButton(number, [other, share], rank) {
  const right = same(number, other);
  const sign = right === null ? "" : right ? "✓ " : "✗ ";
  const cluster = pictures.split[other] === TRAIN && pictures.cluster[other] >= 0 ? ` · #${pictures.cluster[other]}` : "";
  const button = pictureButton(other, `${sign}${percent(share)}${cluster}`, right === null ? "" : right ? "right" : "wrong");
  button.setAttribute("aria-label", `rank ${rank}${right === null ? "" : right ? ", right" : ", wrong"}, ${button.getAttribute("aria-label")}`);
  return button;
}

function scopes(number) {
  const groups = facts.splits.map((name, split) => ({ value: String(split), name, splits: [split] }));
  const held = groups.filter((group) => pictures.split.includes(group.splits[0]));
  if (held.length > 1) held.push({ value: "all", name: "all pictures", splits: held.map((group) => group.splits[0]) });
  const wish = pictures.split[number] === TRAIN ? "0" : "2";
  return [held, held.some((group) => group.value === wish) ? wish : held[0].value];
}

function openSearch(number) {
  if (!dialog.open) { trail = []; dialog.showModal(); }
  trail.push(number);
  const [groups, wish] = scopes(number);
  among.replaceChildren(...groups.map((group) => make("option", { value: group.value, selected: group.value === wish }, group.name)));
  showSearch();
}

function showSearch() {
  const number = trail[trail.length - 1];
  const identity = pictures.identity && pictures.identity[number] > 0 ? `identity ${pictures.identity[number]}` : null;
  const cluster = pictures.split[number] === TRAIN && pictures.cluster[number] >= 0 ? pictures.cluster[number] : null;
  document.getElementById("who-picture").replaceChildren(
    make("img", { src: source(number), alt: "the picture that is searched for" }),
    make("div", {}, make("p", {}, nameOf(number)), identity ? make("p", {}, identity) : null,
      make("p", { class: "quiet" }, pictures.path[number]),
      cluster === null ? null : make("button", { type: "button", onclick: () => { dialog.close(); showCluster(cluster); } }, `Show individual ${cluster}`)),
  );
  const splits = among.value === "all" ? [0, 1, 2] : [Number(among.value)];
  hits = ranked(number, { splits, camera: onCamera.value, elsewhere: others.checked });
  document.getElementById("who-back").hidden = trail.length < 2;
  const told = document.getElementById("who-told");
  const likely = hits.filter(([, share]) => share >= 0.5).length;
  told.className = likely ? "message" : "message nobody";
  told.textContent = !hits.length ? "There is no such picture."
    : likely ? `${likely} of ${hits.length} pictures more likely than not show the same individual. Most similar first; the percentage is P(same).`
      : "Nobody known: no picture is more likely than not of the same individual. The most similar are:";
  document.getElementById("who-hits").replaceChildren();
  shownHits = 0;
  moreHits();
  dialog.scrollTop = 0;
}

function moreHits() {
  const number = trail[trail.length - 1];
  document.getElementById("who-hits").append(
    ...hits.slice(shownHits, shownHits + EACH).map((hit, place) => hitButton(number, hit, shownHits + place + 1)));
  shownHits = Math.min(shownHits + EACH, hits.length);
  document.getElementById("who-more").hidden = shownHits === hits.length;
}

/** A row of the section: a picture, what it is an example of, and the first of its ranked gallery. */
function queryRow({ kind, picture: number, told }) {
  const row = make("div", { class: "query", role: "group", "aria-label": `${kind}: ${told}` });
  const queries = pictures.split[number] !== TRAIN;
  return lazily(row, () => {
    const found = ranked(number, { splits: [queries ? 2 : TRAIN], elsewhere: cameras.length > 1 }).slice(0, 10);
    row.append(make("div", { class: "first" }, pictureButton(number), make("small", {}, told)),
      make("div", { class: "pictures" }, ...found.map((hit, place) => hitButton(number, hit, place + 1))));
  });
}

function startSearch() {
  onCamera.append(...cameras.map((name, place) => make("option", { value: place }, name)));
  others.checked = cameras.length > 1;
  document.getElementById("who-others-label").hidden = cameras.length < 2;
  for (const control of [among, onCamera, others]) control.addEventListener("change", showSearch);
  document.getElementById("who-more").addEventListener("click", moreHits);
  document.getElementById("who-close").addEventListener("click", () => dialog.close());
  document.getElementById("who-back").addEventListener("click", () => { trail.pop(); showSearch(); });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.getElementById("any").addEventListener("click", () => openSearch(Math.floor(Math.random() * count)));
  const place = document.getElementById("queries");
  for (const kind of [...new Set(facts.queries.map((query) => query.kind))]) {
    place.append(make("h3", {}, kind), ...facts.queries.filter((query) => query.kind === kind).map(queryRow));
  }
}
