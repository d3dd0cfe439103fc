"""Exact nearest neighbours against faiss's flat index.

    python -m benchmarks.knn [--n 12936] [--d 2048] [--preset early] [--k 30] [--without-bfloat16] [--json]

The similarities must agree to 1e-5 and the neighbours but for near-ties; the recall is printed. faiss is run up to
--baseline-up-to rows.
"""

import numpy as np
import torch

from benchmarks import measure
from benchmarks.baselines_neighbours import flat_neighbours
from benchmarks.features import features, purity
from benchmarks.measure import compare, report
from reidlib.neighbours.search import nearest


def main() -> None:
    parser = measure.options(__doc__, n=12936, d=2048, k=30, preset="early", repeats=5, baseline_up_to=30_000)
    parser.add_argument("--without-bfloat16", action="store_true", help="as on a processor that does not multiply it")
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
