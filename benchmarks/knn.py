"""Exact nearest neighbours against faiss's flat index.

    python -m benchmarks.knn [--n 12936] [--d 2048] [--preset early] [--k 30] [--without-bfloat16] [--json]

The similarities must agree to 1e-5 and the neighbours but for near-ties; the recall is printed. faiss is run up to
--baseline-up-to rows.
"""

import argparse

import numpy as np
import torch

from benchmarks.baselines_neighbours import flat_neighbours
from benchmarks.features import features, purity
from benchmarks.measure import compare, report
from reidlib.neighbours.search import nearest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=12936)
    parser.add_argument("--d", type=int, default=2048)
    parser.add_argument("--k", type=int, default=30)
    parser.add_argument("--preset", choices=["late", "early"], default="early")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--without-bfloat16", action="store_true", help="as on a processor that does not multiply it")
    parser.add_argument("--baseline-up-to", type=int, default=30_000)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.without_bfloat16:
        torch.cpu._is_avx512_bf16_supported = lambda: False
    embeddings, identities, _ = features(options.n, preset=options.preset, d=options.d)
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def ours() -> None:
        found["ours"] = nearest(embeddings, k=options.k, device="cpu")

    def baseline() -> None:
        found["faiss"] = flat_neighbours(embeddings, k=options.k)

    given = baseline if options.n <= options.baseline_up_to else None
    figures = compare(ours, given, repeats=options.repeats, warm=options.n <= 50_000)
    recall = None
    if "faiss" in found:
        pairs = zip(found["ours"][1], found["faiss"][1], strict=True)
        recall = float(np.mean([len(np.intersect1d(a, b)) for a, b in pairs]) / options.k)
        if np.abs(found["ours"][0] - found["faiss"][0]).max() > 1e-5:
            raise RuntimeError("the similarities differ from faiss's")
    report(
        {
            "benchmark": "knn",
            "size": options.n,
            "dimension": options.d,
            "k": options.k,
            "preset": options.preset,
            "bfloat16": torch.cpu._is_avx512_bf16_supported(),
            "purity": purity(found["ours"][1], identities),
            **figures,
            "baseline": "faiss flat" if given else None,
            "recall": recall,
        },
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
