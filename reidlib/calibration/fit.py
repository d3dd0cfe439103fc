"""Calibration without labels: what is the same and what is not is learnt from pairs of pictures of which nobody knows.

Two pictures of different cameras nearly always show different individuals, but the few pairs that do not are what the
upper tail of their cosines is made of. So cosines of *strangers* are set beside them: of the same pictures with
training images, among whom the individuals of queries and gallery do not appear. Training moves and narrows these
cosines a little, so they are moved and stretched until their quartiles are those of the pairs in question. Their tail
then gives the threshold for a false-match rate, and what the tail of the pairs has beyond theirs are matches.

How many pairs are matches cannot be told from cosines that overlap; it is the prior, and comes from the clusters: an
individual has as many images as a cluster. With it, P(same) = 1 / (1 + exp(-(slope × cosine + offset))) has one free
number, the slope, found by maximum likelihood in the upper tenth of the pairs, where matches can be seen. A pair of
cameras with enough pictures has an offset and thresholds of its own; the slope, of the few matches, is shared.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float, Float64
from pydantic import Field

from reidlib.calibration.calibration import Calibration, Curve
from reidlib.calibration.pairs import Pictures, cosines_of_clusters, cosines_of_strangers, cosines_within
from reidlib.settings import Count

Values = Float[np.ndarray, "_"]
RATES = (1e-6, 1e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
SEEN = 10  # pairs of strangers above a threshold, at least, for it to be told
UPPER = 0.9  # quantile of the pairs from which on the slope is fitted
SLOPES = np.linspace(0, 60, 241)
BINS = 1024
PRIOR_RANGE = (1e-6, 0.5)


def calibrate(
    pictures: Pictures,
    trained: Pictures,
    *,
    seed: int,
    images: Annotated[int, Field(ge=100)],
    pairs: Count,
    prior: Annotated[float, Field(gt=0, lt=1)] | None,
) -> Calibration:
    """Learn what the cosines of a model mean, from pictures that it was not trained on, without any identity.

    Args:
        pictures: of queries and gallery; where they have no two cameras to compare, the trained ones themselves
            are used, pairs of different clusters being strangers.
        trained: those it was trained on, with their final clusters.
        seed: of the samples.
        images: at most so many of either are compared.
        pairs: a pair of cameras has a curve of its own from so many pairs of pictures on.
        prior: share of pairs that are the same; None: estimated by the clusters.

    Raises:
        ValueError: where there are fewer than 20 pairs to learn from.
    """
    generator = np.random.default_rng(seed)
    chosen, known = pictures.sample(images, generator), trained.sample(images, generator)
    compare = dict(cosines_within(chosen)) if len(chosen) > 1 else {}
    strangers = dict(cosines_of_strangers(chosen, known)) if compare else {}
    held_out = min(_total(compare), _total(strangers)) >= 2 * SEEN
    if not held_out:
        compare, strangers = dict(cosines_within(known)), dict(cosines_of_clusters(known))
    if min(_total(compare), _total(strangers)) < 2 * SEEN:
        raise ValueError(
            f"calibrate: expected at least {2 * SEEN} pairs of pictures across cameras to learn from, found "
            f"{_total(compare):,}; more pictures are needed"
        )
    share = prior or expected_matches(trained, pictures=len(pictures) if held_out else len(trained))
    pooled = fit_curve(_joined(compare.values()), _joined(strangers.values()), prior=share)
    curves = {
        key: fit_curve(compare[key], strangers[key], prior=share, slope=pooled.slope)
        for key in compare
        if len(compare) > 1 and min(compare[key].size, strangers[key].size) >= pairs
    }
    source: Literal["strangers", "clusters"] = "strangers" if held_out else "clusters"
    return Calibration(prior=share, source=source, pooled=pooled, cameras=curves)


def expected_matches(trained: Pictures, *, pictures: int) -> float:
    """Return the share of pairs that are the same if every individual has as many pictures as a cluster has images."""
    labels = trained.labels
    assert labels is not None
    clusters = np.unique(labels[labels >= 0])
    size = (labels >= 0).sum() / len(clusters) if len(clusters) else 1.0
    return float(np.clip(size / pictures, *PRIOR_RANGE))


def summary(calibration: Calibration) -> dict[str, float]:
    """Return what a metrics file tells of a calibration: prior, slope, thresholds, and from how many pairs."""
    curve = calibration.pooled
    cosines = dict(zip(curve.false_match_rates, curve.thresholds, strict=True))
    told = {f"threshold_at_{100 * rate:g}_percent": cosines[rate] for rate in (0.001, 0.01, 0.1) if rate in cosines}
    counts = {"pairs": curve.pairs, "strangers": curve.strangers, "camera_pairs": len(calibration.cameras)}
    held_out = {"held_out": int(calibration.source == "strangers")}
    return {"prior": calibration.prior, "slope": curve.slope, "offset": curve.offset, **told, **counts, **held_out}


def fit_curve(pairs: Values, strangers: Values, *, prior: float, slope: float | None = None) -> Curve:
    """Return thresholds and probability by cosines of pairs nobody knows of, and of strangers; a slope may be given."""
    moved = align(strangers, to=pairs)
    rates = [rate for rate in RATES if rate * moved.size >= SEEN]
    cosines = np.quantile(moved, [1 - rate for rate in rates])
    slope, offset = fit_slope(pairs, moved, prior=prior, slopes=SLOPES if slope is None else np.array([slope]))
    return Curve(
        slope=slope, offset=offset, false_match_rates=tuple(rates), thresholds=tuple(cosines.tolist()),
        pairs=pairs.size, strangers=strangers.size,
    )  # fmt: skip


def align(values: Values, *, to: Values) -> Float64[np.ndarray, "_"]:
    """Return values moved and stretched, so that their median and the width of their middle half are those of `to`."""
    (low, middle, high), (to_low, to_middle, to_high) = (np.quantile(part, (0.25, 0.5, 0.75)) for part in (values, to))
    stretch = (to_high - to_low) / (high - low) if high > low else 1.0
    return (values.astype(np.float64) - middle) * stretch + to_middle


def fit_slope(pairs: Values, strangers: Values, *, prior: float, slopes: Values = SLOPES) -> tuple[float, float]:
    """Return which of the slopes is the likeliest in the upper tenth of the pairs, and the offset that goes with it.

    The density of pairs is (1 - prior) × that of strangers × (1 + odds), so among strangers the odds have the mean
    prior / (1 - prior), which gives the offset of each slope. 0 is found where pairs have no more in their tail.
    """
    edges = np.linspace(min(-1.0, strangers.min()), max(1.0, strangers.max()), BINS + 1)
    centres = (edges[1:] + edges[:-1]) / 2
    found, expected = (np.histogram(part, edges)[0] / part.size for part in (pairs, strangers))
    upper = centres >= np.quantile(pairs, UPPER)
    offsets = [_offset(slope, centres, expected, prior) for slope in slopes]
    if not found[upper].sum() > 0 or not expected[upper].sum() > 0:
        return float(slopes[0]), offsets[0]
    likelihoods = []
    for slope, offset in zip(slopes, offsets, strict=True):
        more = np.logaddexp(0, slope * centres[upper] + offset)  # log (1 + odds)
        mass = np.log(np.sum(expected[upper] * np.exp(more)) / expected[upper].sum())
        likelihoods.append(np.sum(found[upper] * more) / found[upper].sum() - mass)
    best = int(np.argmax(likelihoods))
    return float(slopes[best]), offsets[best]


def _offset(slope: float, centres: Values, expected: Values, prior: float) -> float:
    """Return the offset with which odds among strangers have the mean prior / (1 - prior)."""
    return float(np.log(prior) - np.log1p(-prior) - np.log(np.sum(expected * np.exp(slope * centres))))


def _total(cosines: Mapping[str, Values]) -> int:
    return sum(part.size for part in cosines.values())


def _joined(parts: Iterable[Values]) -> Values:
    return np.concatenate(list(parts))
