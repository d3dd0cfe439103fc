"""The report of a large set: how long it takes to write, how large it is, how soon it is seen, whether it scrolls.

    python -m benchmarks.page [--n 12936] [--d 768] [--to page.html] [--json]

Pictures (128 x 64, coarse noise over a colour for each individual) and embeddings are made up; heat-maps, a few pairs
whatever the size of the set, are left out. With a browser (`apt-get install chromium chromium-driver`) the page is
opened from the disk: seconds until everything is there, a search, frames while individuals are scrolled through.
"""

import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import measure
from benchmarks.features import features
from benchmarks.measure import report, seconds
from reidlib.calibration.calibration import Calibration, Curve
from reidlib.images.split import Split
from reidlib.labels.asking import Asking
from reidlib.labels.global_labelling import global_labelling
from reidlib.labels.numbering import number_clusters
from reidlib.report.embedding_map import embedding_map
from reidlib.report.material import Material
from reidlib.report.measured import Measured
from reidlib.report.page import write_page
from reidlib.settings import load_params

HEIGHT, WIDTH = 128, 64
SCROLL = """
const [done] = arguments, frames = [], list = document.getElementById('clusters');
let before = performance.now(), place = list.offsetTop;
function step(now) {
  frames.push(now - before);
  before = now;
  place += 200;
  window.scrollTo({top: place, behavior: 'instant'});
  if (place < list.offsetTop + list.offsetHeight && frames.length < 1500) return requestAnimationFrame(step);
  const ordered = frames.slice(2).sort((a, b) => a - b);
  return done([ordered[ordered.length - 1], ordered[Math.floor(0.99 * ordered.length)]]);
}
requestAnimationFrame(step);
"""
SEARCH = "const t = performance.now(); openSearch(arguments[0]); dialog.close(); return performance.now() - t"


def pictures(people: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Coarse noise, enlarged, over a colour for each individual."""
    colours = generator.integers(40, 216, (int(people.max()) + 1, 3))
    coarse = generator.integers(-40, 41, (len(people), 16, 8, 3))
    images = np.empty((len(people), HEIGHT, WIDTH, 3), np.uint8)
    for row, (who, noise) in enumerate(zip(people, coarse, strict=True)):
        images[row] = (
            colours[who] + noise.repeat(8, 0).repeat(8, 1) + generator.integers(-8, 9, (HEIGHT, WIDTH, 3))
        ).clip(0, 255)
    return images


def made_up(n: int, d: int) -> tuple[Material, float]:
    """A run of n training images and nothing else: clusters are the individuals, a few of which fall apart.

    And CPU seconds for the graphs by which a person is asked (the embeddings stand for the colours, too).
    """
    embeddings, people, cameras = features(n, preset="late", d=d)
    generator = np.random.default_rng(0)
    labels = np.where(generator.random(n) < 0.03, -1, people)
    rows = pd.DataFrame(
        {"image": [f"{row:016x}" for row in range(n)], "camera": cameras.astype(np.int16), "tracklet": -1, "frame": -1}
    )
    paths = [
        f"bounding_box_train/{who:04d}_c{camera + 1}s1_{row:06d}_01.jpg"
        for row, (who, camera) in enumerate(zip(people, cameras, strict=True))
    ]
    names = pd.DataFrame(
        {"image": rows["image"], "path": paths, "camera": [str(camera + 1) for camera in cameras], "tracklet": ""}
    )
    nothing = Split(np.zeros((0, HEIGHT, WIDTH, 3), np.uint8), rows[:0])
    curve = Curve(slope=30.0, offset=-8.0, false_match_rates=(0.1,), thresholds=(0.5,), pairs=9, strangers=9)
    epochs = pd.DataFrame({"epoch": 0, "row": np.arange(n), "label": labels})
    sides, train = ("query", "gallery"), Split(pictures(people, generator), rows)
    labelling = global_labelling(load_params("dataset.camera_labels", "refine"))
    began = process_time()
    asking = Asking(Path("no links"), train, names, embeddings, embeddings, labelling=labelling)
    asked = process_time() - began
    material = Material(
        splits={"train": train, **dict.fromkeys(sides, nothing)}, asking=asking,
        embeddings={"train": embeddings, **dict.fromkeys(sides, embeddings[:0])},
        labels=number_clusters(labels), epochs=epochs, names=names, measured=Measured({}, {}),
        identities={"train": people.astype(np.int32), **dict.fromkeys(sides, np.zeros(0, np.int32))},
        calibration=Calibration(prior=0.01, source="clusters", pooled=curve),
    )  # fmt: skip
    return material, asked


def looked_at(path: Path) -> dict[str, float]:
    """Open the page in a browser: seconds to the first paint and until all is there, and frames while scrolling."""
    from tests.browser import console, start_browser

    with tempfile.TemporaryDirectory() as profile, start_browser(Path(profile)) as chrome:
        chrome.set_script_timeout(300)
        start = perf_counter()
        chrome.get(path.absolute().as_uri())
        opened = perf_counter() - start
        assert chrome.execute_script("return document.documentElement.dataset.ready") == "true"
        paint = chrome.execute_script("return performance.getEntriesByName('first-contentful-paint')[0].startTime")
        searches = [chrome.execute_script(SEARCH, number) for number in (7, 9)]
        longest, usual = chrome.execute_async_script(SCROLL)
        assert console(chrome) == []
    milliseconds = {
        "first_paint": paint, "first_search": searches[0], "search": searches[1], "longest_frame": longest,
        "frame_99_percent": usual,
    }  # fmt: skip
    return {"opened_seconds": opened, **{f"{name}_seconds": value / 1000 for name, value in milliseconds.items()}}


def main() -> None:
    parser = measure.options(__doc__, n=12_936, d=768, to="")
    options = parser.parse_args()
    material, asked = made_up(options.n, options.d)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(options.to or Path(folder, "page.html"))
        began = process_time()
        mapping = seconds(lambda: embedding_map(material.embeddings["train"], seed=1, neighbours=15))
        figures: dict[str, Any] = {"map_cpu_seconds": process_time() - began, "asking_cpu_seconds": asked}

        def write() -> None:
            figures.update(write_page(path, material, lambda one, _: [(np.zeros((2, 2), np.float32),) * 2 for _ in one],
                                      facts={}, method="", seed=1, pictures=20_000, neighbours=15))  # fmt: skip

        began = process_time()
        writing = seconds(write)
        figures["write_cpu_seconds"] = process_time() - began
        report(
            {"benchmark": "page", "size": options.n, "dimension": options.d, "map_seconds": mapping,
             "write_seconds": writing, "megabytes": figures.pop("bytes") / 1e6, **figures,
             **looked_at(path)}, as_json=options.json,
        )  # fmt: skip


if __name__ == "__main__":
    main()
