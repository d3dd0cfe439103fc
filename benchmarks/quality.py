"""Label quality against identities: the sparse table against scikit-learn, or against dense matrices of pairs.

    python -m benchmarks.quality [--n 1000000] [--json]

prints one line. Labels are made: about 17 images per identity, a fifth of them in a wrong cluster, a tenth outliers.
The baseline is dense matrices of "same cluster" and "same identity" up to `--dense-up-to` rows, scikit-learn beyond;
both must give the same values.
"""

from typing import Any

import numpy as np

from benchmarks import baselines_labels
from benchmarks.measure import compare, options, peak_extra_mib, report
from reidlib.labels.quality import label_quality


def made(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and identities of n rows."""
    generator = np.random.default_rng(0)
    identities = generator.integers(0, max(n // 17, 2), n)
    labels = np.where(generator.random(n) < 0.2, generator.permutation(identities), identities)
    labels[generator.random(n) < 0.1] = -1
    return labels, identities


def measure(n: int, *, repeats: int, dense: bool) -> dict[str, Any]:
    """One line: size, seconds, extra memory, and the baseline's.

    Raises:
        RuntimeError: where the two disagree.
    """
    labels, identities = made(n)

    def ours() -> dict[str, float]:
        return label_quality(labels, identities)

    def obvious() -> dict[str, float]:
        way = baselines_labels.label_quality if dense else baselines_labels.library_quality
        return way(labels, identities)

    line: dict[str, Any] = {
        "benchmark": "quality",
        "size": n,
        **compare(ours, obvious, repeats=repeats),
        "baseline": "dense matrices" if dense else "scikit-learn",
        "baseline_peak_extra_mib": peak_extra_mib(obvious),
    }
    values = ours()
    if any(abs(values[name] - value) > 1e-9 for name, value in obvious().items()):
        raise RuntimeError(f"the two ways differ at {n} rows")
    return line


def main() -> None:
    given = options(__doc__, n=1_000_000, repeats=5, dense_up_to=13000).parse_args()
    report(measure(given.n, repeats=given.repeats, dense=given.n <= given.dense_up_to), as_json=given.json)


if __name__ == "__main__":
    main()
