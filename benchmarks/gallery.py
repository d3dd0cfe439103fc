"""A gallery's search and opening against what they cannot beat: reading the vectors once, or nothing at all.

    python -m benchmarks.gallery [--n 100000] [--d 512] [--index exact|ivf|hnsw] [--queries 50] [--json]

One picture's vector is searched for through `Gallery.search`, the table of answers included; with an index its recall
against the exact search is measured on queries that are no rows of the gallery.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import measure
from benchmarks.features import features
from benchmarks.measure import compare, report, resident_mib, seconds
from reidlib.gallery.gallery import Gallery
from reidlib.gallery.store import Manifest, write_version, writing

MIB = 2**20


def made(folder: Path, vectors: np.ndarray, cameras: np.ndarray) -> None:
    """Write a gallery of these vectors, its pictures made up."""
    n = len(vectors)
    rows = pd.DataFrame({
        "path": [f"/pictures/{number:09d}.jpg" for number in range(n)], "camera": cameras.astype(str),
        "time": np.arange(n, dtype=np.float64), "tracklet": (np.arange(n) // 4).astype(str), "identity": "",
        "thumbnail_end": np.arange(1, n + 1),
    })  # fmt: skip
    manifest = Manifest(model="m", fingerprint="f", model_file="", dimension=vectors.shape[1], rows=0, version="none")
    with writing(folder):
        write_version(folder, manifest, vectors=[vectors], rows=rows, thumbnails=[np.zeros(n, np.uint8)])


def recall(gallery: Gallery, queries: np.ndarray, *, k: int = 10) -> float:
    """Share of the exact answers that the index gives."""

    def rows(exact: bool) -> Iterator[set[int]]:
        answers = gallery.search(queries, k=k, per_tracklet=False, exact=exact)
        return (set(found["row"]) for _, found in answers.groupby("query"))

    return float(np.mean([len(a & b) / k for a, b in zip(rows(exact=False), rows(exact=True), strict=True)]))


def main() -> None:
    parser = measure.options(__doc__, n=100_000, d=512, index="exact", queries=50, repeats=15)
    options = parser.parse_args()
    embeddings, _, cameras = features(options.n + options.queries, preset="late", d=options.d)
    vectors, queries = embeddings[: options.n], embeddings[options.n :]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "gallery")
        made(folder, vectors, cameras[: options.n])
        figures: dict[str, float | str | None] = {}
        if options.index != "exact":
            figures["build_seconds"] = seconds(lambda: Gallery(folder).build_index(options.index))
        opening = float(np.median([seconds(lambda: Gallery(folder)) for _ in range(options.repeats)]))
        del embeddings, vectors
        before, gallery = resident_mib(), Gallery(folder)
        first = seconds(lambda: gallery.search(queries[:1]))
        held = gallery.vectors

        def read() -> None:
            np.asarray(held).max()

        turn = iter(np.resize(np.arange(options.queries), 10_000))
        search = compare(lambda: gallery.search(queries[[next(turn)]]), read, repeats=options.repeats)
        if options.index != "exact":
            figures["recall"] = recall(gallery, queries)
        files = sum(path.stat().st_size for path in folder.rglob("*") if path.name in ("vectors.npy", "index.faiss"))
        report(
            {
                "benchmark": "gallery", "size": options.n, "dimension": options.d, "index": options.index,
                "opening_seconds": opening, "first_search_seconds": first, "resident_mib": resident_mib() - before,
                "vectors_mib": held.nbytes / MIB, "vectors_and_index_share": files / held.nbytes,
                **search, "baseline": "reading the vectors once", **figures,
            },
            as_json=options.json,
        )  # fmt: skip


if __name__ == "__main__":
    main()
