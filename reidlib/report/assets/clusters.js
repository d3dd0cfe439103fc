// Individuals: the list, its order and filters; those that are nearly one or two; the pictures of nobody.
const members = clusters.size.map(() => []); // pictures of each cluster, nearest to its centre first
const outliers = [];
for (const number of [...pictures.split.keys()].filter((each) => pictures.split[each] === TRAIN)
  .sort((a, b) => pictures.distance[a] - pictures.distance[b] || a - b)) {
  (pictures.cluster[number] < 0 ? outliers : members[pictures.cluster[number]]).push(number);
}
const seen = members.map((numbers) => [...new Set(numbers.map((number) => pictures.camera[number]))].sort((a, b) => a - b));
const doubts = new Map(); // what is doubtful of a cluster
const items = [];

/** One picture per camera in turns, so that few show a cluster from all sides. */
function fewOf(numbers, most) {
  const turns = new Map();
  const ordered = numbers.map((number) => {
    const turn = turns.get(pictures.camera[number]) ?? 0;
    turns.set(pictures.camera[number], turn + 1);
    return [turn, number];
  });
  return ordered.sort((a, b) => a[0] - b[0]).slice(0, most).map(([, number]) => number);
}

function clusterItem(cluster) {
  const size = clusters.size[cluster];
  const doubt = doubts.get(cluster);
  const preview = make("div", { class: "pictures preview" });
  const all = make("div", { class: "all" });
  const details = make("details", {},
    make("summary", {}, make("strong", {}, `Individual ${cluster}`),
      make("span", {}, `${size} picture${size === 1 ? "" : "s"}${size > members[cluster].length ? ` (${members[cluster].length} here)` : ""}`),
      make("span", {}, `${clusters.cameras[cluster]} camera${clusters.cameras[cluster] === 1 ? "" : "s"}`),
      make("span", { class: "quiet" }, `spread ${clusters.spread[cluster].toFixed(2)}`),
      doubt ? make("span", { class: "doubt-text" }, `doubtful: ${doubt.join("; ")}`) : null),
    all);
  const item = make("div", { class: "cluster", id: `individual-${cluster}` }, details, preview);
  details.addEventListener("toggle", () => {
    if (!details.open || all.childNodes.length) return;
    for (const camera of seen[cluster]) {
      const here = members[cluster].filter((number) => pictures.camera[number] === camera);
      all.append(make("h4", {}, `camera ${cameras[camera]} · ${here.length}`));
      showPictures(all, here);
    }
  });
  return lazily(item, () => preview.append(...fewOf(members[cluster], 8).map((number) => pictureButton(number))));
}

function showCluster(cluster) {
  for (const [name, value] of [["filter", ""], ["on-camera", ""]]) document.getElementById(name).value = value;
  document.getElementById("only-doubtful").checked = false;
  arrange();
  const item = items[cluster];
  item.querySelector("details").open = true;
  item.scrollIntoView({ block: "start" });
  item.querySelector("summary").focus();
}

const ORDERS = {
  size: (a, b) => clusters.size[b] - clusters.size[a],
  spread: (a, b) => clusters.spread[b] - clusters.spread[a],
  cameras: (a, b) => clusters.cameras[b] - clusters.cameras[a],
  doubt: (a, b) => Number(doubts.has(b)) - Number(doubts.has(a)),
  number: () => 0,
};

function arrange() {
  const value = (id) => document.getElementById(id).value;
  const order = ORDERS[value("sort")];
  const [camera, words] = [value("on-camera"), value("filter").trim().toLowerCase()];
  const only = document.getElementById("only-doubtful").checked;
  const fits = (cluster) => (camera === "" || seen[cluster].includes(Number(camera)))
    && (!only || doubts.has(cluster))
    && (words === "" || `individual ${cluster}` === words || String(cluster) === words
      || members[cluster].some((number) => pictures.path[number].toLowerCase().includes(words)));
  const wanted = [...items.keys()].filter(fits).sort((a, b) => order(a, b) || a - b);
  document.getElementById("clusters").replaceChildren(...wanted.map((cluster) => items[cluster]));
  document.getElementById("shown").textContent = `${wanted.length} of ${items.length}`;
}

const halfOf = (cluster, half) => members[cluster].filter((number) => pictures.half[number] === half);
const link = (cluster) => make("button", { type: "button", onclick: () => showCluster(cluster) }, `individual ${cluster}`);

function doubtRow(heading, sides) {
  const row = make("div", { class: "cluster doubt" }, make("h4", {}, ...heading));
  for (const [name, numbers] of sides) {
    const strip = make("div", { class: "pictures" });
    row.append(make("div", {}, make("h4", {}, name), strip));
    lazily(strip, () => strip.append(...fewOf(numbers, 6).map((number) => pictureButton(number))));
  }
  return row;
}

const AT_ONCE = 10; // doubtful ones that are shown without being asked for
function doubtRows(place, rows, nothing) {
  const shown = rows.filter((row) => row.doubtful).slice(0, AT_ONCE);
  if (!shown.length) place.append(make("p", {}, nothing));
  place.append(...shown.map((row) => row.make()));
  const rest = rows.slice(shown.length);
  if (!rest.length) return;
  const doubtful = rest.filter((row) => row.doubtful).length;
  const more = make("details", {}, make("summary", {}, `The next ${rest.length}${doubtful ? `, ${doubtful} of them doubtful` : ", less likely"}`));
  more.addEventListener("toggle", () => { if (more.childNodes.length === 1) more.append(...rest.map((row) => row.make())); });
  place.append(more);
}

function startClusters() {
  for (const [one, other, share] of facts.one.filter((row) => row[2] > 0.5)) {
    for (const [a, b] of [[one, other], [other, one]]) doubts.set(a, [...(doubts.get(a) ?? []), `may be ${b} (${percent(share)})`]);
  }
  for (const [cluster, share] of facts.two.filter((row) => row[1] < 0.5)) {
    doubts.set(cluster, [...(doubts.get(cluster) ?? []), `may be two (halves ${percent(share)} the same)`]);
  }
  doubtRows(document.getElementById("nearly-one"), facts.one.map(([one, other, share]) => ({
    doubtful: share > 0.5,
    make: () => doubtRow([make("span", { class: share > 0.5 ? "percent doubt-text" : "percent" }, percent(share)), " the same: ", link(one), " and ", link(other)],
      [one, other].map((cluster) => [`individual ${cluster}, ${clusters.size[cluster]} pictures`, members[cluster]])),
  })), "No two individuals are more likely than not the same.");
  doubtRows(document.getElementById("nearly-two"), facts.two.map(([cluster, share]) => ({
    doubtful: share < 0.5,
    make: () => doubtRow([make("span", { class: share < 0.5 ? "percent doubt-text" : "percent" }, percent(share)), " the same: the halves of ", link(cluster)],
      [0, 1].map((half) => [`half ${half + 1}`, halfOf(cluster, half)])),
  })), "No individual is more likely than not two.");
  items.push(...clusters.size.map((_, cluster) => clusterItem(cluster)));
  document.getElementById("on-camera").append(...cameras.map((name, place) => make("option", { value: place }, name)));
  for (const id of ["sort", "on-camera", "only-doubtful"]) document.getElementById(id).addEventListener("change", arrange);
  document.getElementById("filter").addEventListener("input", arrange);
  arrange();
  const place = document.getElementById("outlier-pictures");
  if (outliers.length) lazily(place, () => showPictures(place, outliers));
  else place.append(make("p", { class: "quiet" }, "There are none."));
}
