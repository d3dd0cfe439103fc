"""Whether a calibration that saw no identity keeps what it says, measured where identities are known."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Float64, Integer

from reidlib.calibration.calibration import Calibration
from reidlib.images.split import Split
from reidlib.retrieval.metrics import cosine_tiles
from reidlib.settings import Share

Embeddings = Float32[np.ndarray, "_ d"]
Numbers = Integer[np.ndarray, "_"]
STEPS = 4000  # of the cosine, -1 to 1, in the curve of both errors
PARTS = 15  # equal ranges of the probability whose means are compared with the shares that are the same
PAIRS = 2**21  # looked at together
FALSE_ALARMS = (0.01, 0.1)  # false positive identification rates


@dataclass(frozen=True)
class Verification:
    """What a calibration and a threshold are worth; both empty where no identity is known.

    Attributes:
        measures: by name, as shares: `calibration_error` (mean difference of P(same) and the share that are the same,
            over ranges of P(same), weighted by their pairs [Guo et al., ICML 2017, arXiv:1706.04599]),
            `false_match_rate` and `false_non_match_rate` at the threshold, `identified_at_fpir_<percent>` (queries
            whose first answer is right and above the threshold at which this percentage of queries find somebody
            where their own individual is not in the gallery: DIR of the open set).
        det: threshold, false_match_rate and false_non_match_rate, by falling threshold.
        reliability: pairs, said (mean P(same)) and same (the share that are), of each range of P(same) that has any.
    """

    measures: Mapping[str, float] = field(default_factory=dict)
    det: pd.DataFrame = field(default_factory=pd.DataFrame)
    reliability: pd.DataFrame = field(default_factory=pd.DataFrame)

    def values(self) -> dict[str, float]:
        """Return the measures of the final network for a metrics file."""
        return {f"inter_{name}": value for name, value in self.measures.items()}


class _Counts:
    """Sums over pairs of a query and a gallery picture of another camera, tile by tile."""

    def __init__(self) -> None:
        self.cosines = np.zeros((2, STEPS), np.int64)  # strangers, same
        self.parts = np.zeros((PARTS, 3))  # pairs, sum of P(same), same
        self.reached = np.zeros(2, np.int64)  # pairs at or above the threshold: strangers, same

    def add(self, cosines: Any, probabilities: Any, thresholds: Any, same: Bool[np.ndarray, "_"]) -> None:
        """Count pairs, all given as flat arrays."""
        steps = np.clip(((cosines + 1) * (STEPS / 2)).astype(np.int64), 0, STEPS - 1)
        part = np.minimum((probabilities * PARTS).astype(np.int64), PARTS - 1)
        for kind in (False, True):
            self.cosines[int(kind)] += np.bincount(steps[same == kind], minlength=STEPS)
            self.reached[int(kind)] += np.count_nonzero((cosines >= thresholds)[same == kind])
        for column, weights in enumerate((None, probabilities, same.astype(np.float64))):
            self.parts[:, column] += np.bincount(part, weights, minlength=PARTS)

    def calibration_error(self) -> float:
        """Return the mean difference between what is said and what is so."""
        return float(np.abs(self.parts[:, 1] - self.parts[:, 2]).sum() / self.parts[:, 0].sum())

    def reliability(self) -> pd.DataFrame:
        """Return what was said and what is so, range by range."""
        pairs, said, same = self.parts[self.parts[:, 0] > 0].T
        return pd.DataFrame({"pairs": pairs.astype(np.int64), "said": said / pairs, "same": same / pairs})

    def det(self) -> pd.DataFrame:
        """Return both errors over thresholds, from the highest that anybody reaches down, at most once per step."""
        above = self.cosines[:, ::-1].cumsum(axis=1)
        strangers, same = above / above[:, -1:]
        seen = self.cosines[:, ::-1].any(axis=0)
        edges = (1 - np.arange(1, STEPS + 1) * (2 / STEPS))[seen]
        table = {"threshold": edges, "false_match_rate": strangers[seen], "false_non_match_rate": 1 - same[seen]}
        return pd.DataFrame(table)


def verification_report(
    query: Split,
    gallery: Split,
    identities: Mapping[str, Numbers],
    embeddings: Mapping[str, Embeddings],
    calibration: Calibration,
    *,
    false_match_rate: Share,
) -> Verification:
    """Measure a calibration on the embeddings of queries and gallery, across cameras, as `evaluate` ranks them.

    A distractor (identity 0) is a stranger to every query, a picture of unknown identity (-1) takes no part.

    Args:
        query: its pictures.
        gallery: likewise.
        identities: of `query` and `gallery`; 0 = distractor, -1 = unknown.
        embeddings: of `query` and `gallery`.
        calibration: made without them.
        false_match_rate: at which it is asked for a threshold.
    """
    counts, best = _Counts(), []
    for part, cosines in _few_rows(embeddings["query"], embeddings["gallery"]):
        cameras = (query.cameras[part][:, None], gallery.cameras[None])
        owners = identities["query"][part][:, None]
        used = (cameras[0] != cameras[1]) & (owners > 0) & (identities["gallery"] >= 0)
        same = owners == identities["gallery"]
        thresholds = calibration.threshold(false_match_rate=false_match_rate, cameras=cameras)
        probabilities = calibration.probability(cosines, cameras)
        counts.add(cosines[used], probabilities[used], np.broadcast_to(thresholds, used.shape)[used], same[used])
        best.append(best_scores(cosines, same & used, ~same & used))
    if not counts.cosines.any(axis=1).all():
        return Verification()
    pairs = counts.cosines.sum(axis=1)
    measures = {
        "calibration_error": counts.calibration_error(),
        "false_match_rate": counts.reached[0] / pairs[0],
        "false_non_match_rate": 1 - counts.reached[1] / pairs[1],
        **open_set(np.concatenate(best)),
    }
    return Verification({name: float(value) for name, value in measures.items()}, counts.det(), counts.reliability())


def _few_rows(query: Embeddings, gallery: Embeddings) -> Iterator[tuple[slice, Float32[np.ndarray, "_ _"]]]:
    """Yield cosines as `cosine_tiles` does, of as few queries at a time as keeps what is made of them small."""
    for part, cosines in cosine_tiles(query, gallery):
        step = max(1, PAIRS // cosines.shape[1])
        for first in range(0, len(cosines), step):
            rows = slice(first, min(first + step, len(cosines)))
            yield slice(part.start + rows.start, part.start + rows.stop), cosines[rows]


def best_scores(
    cosines: Float32[np.ndarray, "q n"], same: Bool[np.ndarray, "q n"], stranger: Bool[np.ndarray, "q n"]
) -> Float64[np.ndarray, "q 2"]:
    """Return each query's best cosine with its own individual and with any other, -inf where there is none."""
    return np.stack(
        [np.where(kind, cosines, -np.inf).max(axis=1).astype(np.float64) for kind in (same, stranger)], axis=1
    )


def open_set(best: Float64[np.ndarray, "q 2"]) -> dict[str, float]:
    """Return the detection and identification rate at each of `FALSE_ALARMS`.

    Every query with a match is asked twice: without its individual in the gallery, where the best stranger at or above
    the threshold is a false alarm, and with it, where it must come first and be at or above.

    >>> open_set(np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.4], [0.2, 0.1], [-np.inf, 0.9]]))
    {'identified_at_fpir_1': 0.5, 'identified_at_fpir_10': 0.5}
    """
    own, other = best[np.isfinite(best[:, 0])].T
    alarms = np.sort(other[np.isfinite(other)])[::-1]
    rates = {}
    for rate in FALSE_ALARMS:
        allowed = int(rate * len(own))  # alarms
        threshold = alarms[allowed] if allowed < len(alarms) else -np.inf
        rates[f"identified_at_fpir_{100 * rate:g}"] = float(np.mean((own > other) & (own > threshold)))
    return rates
