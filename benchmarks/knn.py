"""Exact nearest neighbours against a torch product with top-k, or against faiss's flat index.

    python -m benchmarks.knn [--baseline torch|faiss] [--n 12936] [--d 2048] [--preset early] [--k 30] [--json]

Both multiply in bfloat16 where the processor does, or with --without-bfloat16 in float32. The similarities must agree
to 1e-5 and the neighbours but for near-ties; the recall is printed. The baseline is run up to --baseline-up-to rows.
"""

from collections.abc import Callable

import numpy as np
import torch

from benchmarks import measure
from benchmarks.baselines_neighbours import flat_neighbours, torch_neighbours
from benchmarks.features import features, purity
from benchmarks.measure import compare, report
from reidlib.neighbours.search import nearest

BASELINES = {"faiss": "faiss flat", "torch": "torch product, top-k, float32 again"}


def baseline_of(name: str, *, bfloat16: bool) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """The search to compare with."""
    return flat_neighbours if name == "faiss" else lambda rows, *, k: torch_neighbours(rows, k=k, bfloat16=bfloat16)


def main() -> None:
    parser = measure.options(__doc__, n=12936, d=2048, k=30, preset="early", repeats=5, baseline_up_to=30_000)
    parser.add_argument("--baseline", choices=sorted(BASELINES), default="faiss")
    parser.add_argument("--without-bfloat16", action="store_true", help="as on a processor that does not multiply it")
    options = parser.parse_args()
    if options.without_bfloat16:
        torch.cpu._is_avx512_bf16_supported = lambda: False
    bfloat16 = torch.cpu._is_avx512_bf16_supported()
    embeddings, identities, _ = features(options.n, preset=options.preset, d=options.d)
    results: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def ours() -> None:
        results["ours"] = nearest(embeddings, k=options.k, device="cpu")

    def baseline() -> None:
        results["baseline"] = baseline_of(options.baseline, bfloat16=bfloat16)(embeddings, k=options.k)

    compared = options.n <= options.baseline_up_to
    figures = compare(ours, baseline if compared else None, repeats=options.repeats, warm=options.n <= 50_000)
    recall = None
    if compared:
        pairs = zip(results["ours"][1], results["baseline"][1], strict=True)
        recall = float(np.mean([len(np.intersect1d(a, b)) for a, b in pairs]) / options.k)
        if np.abs(results["ours"][0] - results["baseline"][0]).max() > 1e-5:
            raise RuntimeError(f"the similarities differ from those of {options.baseline}")
    report(
        {
            "benchmark": "knn",
            "size": options.n,
            "dimension": options.d,
            "k": options.k,
            "preset": options.preset,
            "bfloat16": bfloat16,
            "purity": purity(results["ours"][1], identities),
            **figures,
            "baseline": BASELINES[options.baseline] if compared else None,
            "recall": recall,
        },
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
