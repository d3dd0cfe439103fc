// The map of embeddings on a canvas: colours, moving, zooming, the picture below the pointer.
const canvas = document.getElementById("plane");
const hint = document.getElementById("hint");
const mapped = [...pictures.split.keys()].filter((number) => pictures.split[number] === TRAIN);
const view = { scale: 1, x: 0, y: 0 };
const NEAR = 9; // pixels from a point that count as on it
const PAD = 14;
let dragged = null;

const hue = (number) => `hsl(${(number * 137.508) % 360} 62% ${[48, 60, 38][number % 3]}%)`;
const COLOURS = {
  cluster: (number) => (pictures.cluster[number] < 0 ? "#8888" : hue(pictures.cluster[number])),
  camera: (number) => hue(pictures.camera[number] * 3),
  epoch: (number) => (pictures.epoch[number] ? `hsl(${250 - (210 * (pictures.epoch[number] - 1)) / Math.max(1, facts.epochs - 1)} 70% 50%)` : "#8888"),
  identity: (number) => (pictures.identity[number] > 0 ? hue(pictures.identity[number]) : "#8888"),
};

function placeOf(number) {
  const side = [canvas.clientWidth - 2 * PAD, canvas.clientHeight - 2 * PAD];
  return [PAD + (pictures.x[number] * side[0] - view.x) * view.scale, PAD + (pictures.y[number] * side[1] - view.y) * view.scale];
}

function draw() {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const colour = COLOURS[document.getElementById("colour").value];
  const size = Math.min(9, (mapped.length > 4000 ? 2.4 : 4) * Math.sqrt(view.scale));
  for (const number of mapped) {
    const [x, y] = placeOf(number);
    if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
    pen.fillStyle = colour(number);
    pen.fillRect(x - size / 2, y - size / 2, size, size);
  }
}

let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}

/** The point nearest to a place on the canvas, -1 where none is near. */
function pointAt(x, y) {
  let [best, found] = [NEAR * NEAR, -1];
  for (const number of mapped) {
    const [a, b] = placeOf(number);
    const distance = (a - x) ** 2 + (b - y) ** 2;
    if (distance < best) [best, found] = [distance, number];
  }
  return found;
}

function zoom(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
  const scale = Math.min(60, Math.max(1, view.scale * factor));
  view.x += (x - PAD) / view.scale - (x - PAD) / scale;
  view.y += (y - PAD) / view.scale - (y - PAD) / scale;
  view.scale = scale;
  if (scale === 1) view.x = view.y = 0;
  redraw();
}

function move(x, y) {
  view.x -= x / view.scale;
  view.y -= y / view.scale;
  redraw();
}

function hover(event) {
  const number = pointAt(event.offsetX, event.offsetY);
  hint.hidden = number < 0;
  if (number < 0) return;
  const epoch = pictures.epoch[number] ? `with it since epoch ${pictures.epoch[number]}` : "";
  hint.replaceChildren(make("img", { src: source(number), alt: "" }), nameOf(number), make("br"), epoch);
  hint.style.left = `${Math.min(event.clientX + 14, window.innerWidth - 190)}px`;
  hint.style.top = `${Math.min(event.clientY + 14, window.innerHeight - 190)}px`;
}

function legend() {
  const kind = document.getElementById("colour").value;
  const key = (colour, name) => {
    const spot = make("i");
    spot.style.background = colour;
    return make("span", {}, spot, name);
  };
  const nobody = kind === "camera" ? [] : [key("#8888", kind === "identity" ? "not known" : "no individual")];
  const keys = kind === "camera" ? cameras.map((name, place) => key(hue(place * 3), name))
    : kind === "epoch" ? [key("hsl(250 70% 50%)", "epoch 1"), key("hsl(40 70% 50%)", `epoch ${facts.epochs}`)]
      : [make("span", {}, kind === "identity" ? "a colour for each identity" : "a colour for each individual")];
  document.getElementById("legend").replaceChildren(...keys, ...nobody);
}

const KEYS = {
  ArrowLeft: () => move(40, 0), ArrowRight: () => move(-40, 0), ArrowUp: () => move(0, 40), ArrowDown: () => move(0, -40),
  "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: () => zoom(0),
};

function startMap() {
  const colour = document.getElementById("colour");
  if (pictures.identity) colour.append(make("option", { value: "identity" }, "identity"));
  colour.addEventListener("change", () => { legend(); redraw(); });
  canvas.addEventListener("pointerdown", (event) => { dragged = { x: event.clientX, y: event.clientY, far: false }; });
  canvas.addEventListener("pointermove", (event) => {
    if (!dragged) return hover(event);
    const [x, y] = [event.clientX - dragged.x, event.clientY - dragged.y];
    if (!dragged.far && Math.hypot(x, y) < 4) return undefined;
    dragged = { x: event.clientX, y: event.clientY, far: true };
    hint.hidden = true;
    return move(x, y);
  });
  window.addEventListener("pointerup", (event) => {
    if (dragged && !dragged.far && event.target === canvas) {
      const number = pointAt(event.offsetX, event.offsetY);
      if (number >= 0) { hint.hidden = true; openSearch(number); }
    }
    dragged = null;
  });
  canvas.addEventListener("pointerleave", () => { hint.hidden = true; });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== canvas) return; // the page scrolls on, until the map is chosen
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 300), event.offsetX, event.offsetY);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS)) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  document.getElementById("zoom-in").addEventListener("click", () => zoom(1.6));
  document.getElementById("zoom-out").addEventListener("click", () => zoom(1 / 1.6));
  document.getElementById("zoom-reset").addEventListener("click", () => zoom(0));
  new ResizeObserver(redraw).observe(canvas);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  legend();
  lazily(canvas, redraw);
}
