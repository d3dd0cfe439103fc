// The page's data, and what is made of it: pictures, similarities, probabilities.
const textOf = (id) => document.getElementById(id).textContent;
const facts = JSON.parse(textOf("facts"));
const { pictures, clusters, cameras } = facts;
const count = pictures.split.length;
const TRAIN = 0;

let sheet = null; // all thumbnails one after the other, each base64 to itself
function source(number) {
  sheet ??= textOf("thumbnails");
  return "data:image/webp;base64," + sheet.slice(number ? facts.ends[number - 1] : 0, facts.ends[number]);
}

function bytesOf(id) {
  const text = atob(textOf(id));
  const bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
  return bytes.buffer;
}

let vectors = null;
let scales = null;
/** Cosines of a picture with every picture. */
function cosines(number) {
  vectors ??= new Int8Array(bytesOf("vectors"));
  scales ??= new Float32Array(bytesOf("scales"));
  const width = facts.dimensions;
  const own = Float32Array.from(vectors.subarray(number * width, (number + 1) * width), (value) => value * scales[number]);
  const found = new Float32Array(count);
  for (let other = 0, place = 0; other < count; other++) {
    let sum = 0;
    for (let column = 0; column < width; column++, place++) sum += own[column] * vectors[place];
    found[other] = sum * scales[other];
  }
  return found;
}

/** P(same) of two pictures of this cosine, by the calibration of their cameras. */
function probability(cosine, one, other) {
  const [slope, offset] = facts.calibration[pictures.camera[one]][pictures.camera[other]];
  return 1 / (1 + Math.exp(-(slope * cosine + offset)));
}

const percent = (share) => (share >= 0.995 ? ">99\u00a0%" : share < 0.005 ? "<1\u00a0%" : `${Math.round(100 * share)}\u00a0%`);

/** true, false, or null where it is not known: whether two pictures show the same individual. */
function same(one, other) {
  if (!pictures.identity) return null;
  const [a, b] = [pictures.identity[one], pictures.identity[other]];
  return a > 0 && b >= 0 ? a === b : null;
}

function nameOf(number) {
  const cluster = pictures.cluster[number];
  const who = pictures.split[number] !== TRAIN ? facts.splits[pictures.split[number]] : cluster < 0 ? "no individual" : `individual ${cluster}`;
  return cameras.length > 1 ? `${who}, camera ${cameras[pictures.camera[number]]}` : who;
}

/** A button with a picture, which opens its search; `note` is written below it, `mark` is right, wrong or chosen. */
function pictureButton(number, note, mark) {
  const told = `${nameOf(number)}${note ? `, ${note}` : ""}: who looks like this?`;
  const image = make("img", { src: source(number), alt: "", decoding: "async" });
  return make("button", {
    type: "button", class: `picture${mark ? ` ${mark}` : ""}`, "data-picture": number, "aria-label": told,
    title: pictures.path[number], onclick: () => openSearch(number),
  }, image, note ?? "");
}

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    watcher.unobserve(entry.target);
    entry.target.fill();
  }
}, { rootMargin: "800px" });
/** Call `fill` once the element comes near what is seen. */
function lazily(element, fill) {
  element.fill = fill;
  watcher.observe(element);
  return element;
}

/** Fill an element with pictures, some at first and more by a button, so that no list is too long to show. */
function showPictures(place, numbers, each = 120) {
  const box = make("div", { class: "pictures" });
  const more = make("button", { type: "button", onclick: () => add() }, "");
  let shown = 0;
  function add() {
    box.append(...numbers.slice(shown, shown + each).map((number) => pictureButton(number)));
    shown = Math.min(shown + each, numbers.length);
    more.textContent = `Show more (${numbers.length - shown} left)`;
    more.hidden = shown === numbers.length;
  }
  add();
  place.append(box, more);
}
