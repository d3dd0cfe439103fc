"""P(same | cosine), and the cosine from which on two pictures count as the same at a wished rate of false matches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Float64
from pydantic import ConfigDict, Field, TypeAdapter
from scipy.special import expit

from reidlib.files import atomic_file

Cosines = Float[np.ndarray, "..."] | float
Cameras = tuple[Any, Any]  # of one picture and of the other: each a name or number, or an array of them
Open = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What cosines mean between the cameras of a pair, or of all pairs together.

    Attributes:
        slope: of the log odds of "same" by the cosine, 0 (the cosine tells nothing) or more.
        offset: the log odds at cosine 0, with the calibration's prior.
        false_match_rates: ascending.
        thresholds: the cosine that this share of pairs of different individuals reaches, not ascending.
        pairs: how many pairs of pictures, of whom nobody knows, the curve was learnt from.
        strangers: how many pairs taken for different individuals.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    slope: Annotated[float, Field(ge=0)]
    offset: float
    false_match_rates: tuple[Open, ...]
    thresholds: tuple[float, ...]
    pairs: int
    strangers: int

    def __post_init__(self) -> None:
        """Refuse rates and thresholds that are out of order.

        Raises:
            ValueError: for those.
        """
        rates, cosines = np.array(self.false_match_rates), np.array(self.thresholds)
        if not len(rates) == len(cosines) > 0 or (np.diff(rates) <= 0).any() or (np.diff(cosines) > 0).any():
            raise ValueError(f"expected rising rates and a falling threshold for each, found {rates} and {cosines}")

    def threshold(self, rate: float) -> float:
        """Return the cosine for a false-match rate, interpolated over its logarithm.

        Raises:
            ValueError: for a rate outside of what was learnt.
        """
        least, most = self.false_match_rates[0], self.false_match_rates[-1]
        if not least <= rate <= most:
            raise ValueError(
                f"false_match_rate: expected {least:g} to {most:g}, which {self.strangers:,} pairs of strangers can "
                f"tell, found {rate:g}"
            )
        return float(np.interp(np.log(rate), np.log(self.false_match_rates), self.thresholds))


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Cosines of a model as probabilities, and thresholds.

    Attributes:
        prior: share of the pairs of pictures across cameras that show the same individual.
        source: "strangers": learnt on queries and gallery, which the model was not trained on; "clusters": on the very
            images that it was trained on, which flatters it.
        pooled: of all pairs of cameras together.
        cameras: of pairs of cameras with enough pictures, by both names in order, joined by "|".
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    prior: Open
    source: Literal["strangers", "clusters"]
    pooled: Curve
    cameras: Mapping[str, Curve] = field(default_factory=dict)

    def probability(
        self, cosines: Cosines, cameras: Cameras | None = None, *, prior: float | None = None
    ) -> Float64[np.ndarray, "..."]:
        """Return the probability that two pictures show the same individual.

        Args:
            cosines: of their embeddings.
            cameras: of both, scalars or arrays that broadcast with the cosines; a pair that has no curve of its own,
                and all without cameras, are of `pooled`.
            prior: another share of pairs that are the same, of a gallery of two people, say; the calibration's without.

        Raises:
            ValueError: for a prior that is not between 0 and 1.
        """
        if prior is not None and not 0 < prior < 1:
            raise ValueError(f"prior: expected a share between 0 and 1, found {prior}")
        slope, offset = self._of_each(cameras, lambda curve: (curve.slope, curve.offset))
        moved = 0.0 if prior is None else _log_odds(prior) - _log_odds(self.prior)
        odds = slope * np.asarray(cosines, np.float64) + offset + moved
        return np.asarray(expit(odds))

    def threshold(self, *, false_match_rate: float, cameras: Cameras | None = None) -> Float64[np.ndarray, "..."]:
        """Return the cosine that pictures of different individuals reach at this rate; below it the answer is unknown.

        Args:
            false_match_rate: share of pairs of different individuals.
            cameras: as in `probability`; a curve of a pair of cameras that cannot tell so small a rate leaves it to
                `pooled`.

        Raises:
            ValueError: for a rate that nothing of what was learnt can tell.
        """
        return np.asarray(self._of_each(cameras, lambda curve: (self._threshold(curve, false_match_rate),))[0])

    def _threshold(self, curve: Curve, rate: float) -> float:
        known = curve.false_match_rates[0] <= rate <= curve.false_match_rates[-1]
        return (curve if known else self.pooled).threshold(rate)

    @cached_property
    def _codes(self) -> dict[str, int]:
        """A number of each camera that has a curve of its own with another."""
        names = sorted({name for key in self.cameras for name in key.split("|")})
        return {name: number for number, name in enumerate(names)}

    def _of_each(self, cameras: Cameras | None, values: Any) -> Float64[np.ndarray, "k ..."]:
        """Return values of the curve of each pair of cameras, of `pooled` where it has none."""
        pooled = np.array(values(self.pooled), np.float64)
        if cameras is None or not self.cameras:
            return pooled
        side = len(self._codes) + 1
        table = np.tile(pooled[:, None, None], (1, side, side))  # the last row and column: cameras without a curve
        for key, curve in self.cameras.items():
            one, other = (self._codes[name] for name in key.split("|"))
            table[:, one, other] = table[:, other, one] = values(curve)
        rows, columns = (self._numbers(camera) for camera in cameras)
        return table[:, rows, columns]

    def _numbers(self, cameras: Any) -> np.ndarray:
        names, inverse = np.unique(np.asarray(cameras), return_inverse=True)
        numbers = np.array([self._codes.get(_plain(name), len(self._codes)) for name in names.tolist()], np.int64)
        return np.asarray(numbers[inverse]).reshape(np.shape(cameras))

    def to_json(self) -> str:
        """Return it as text, which `from_json` reads."""
        return TypeAdapter(Calibration).dump_json(self, indent=1).decode()

    @staticmethod
    def from_json(text: str | bytes) -> "Calibration":
        """Read what `to_json` wrote.

        Raises:
            ValueError: for other text, or values out of range.
        """
        return TypeAdapter(Calibration).validate_json(text)

    def to_dict(self) -> dict[str, Any]:
        """Return it as the field `calibration` of a model's file holds it; `from_dict` reads it."""
        return dict(TypeAdapter(Calibration).dump_python(self, mode="json"))

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Calibration":
        """Read what `to_dict` returned; raises as `from_json`."""
        return TypeAdapter(Calibration).validate_python(dict(values))


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write it as JSON, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(calibration.to_json() + "\n", encoding="utf-8")


def read_calibration(path: Path) -> Calibration:
    """Read what `write_calibration` wrote.

    Raises:
        ValueError: where there is no such file, or one that holds something else.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such calibration; run `dvc repro` to make it")
    try:
        return Calibration.from_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not a calibration written by this pipeline ({error}); run its stage again") from None


def camera_pair(one: object, other: object) -> str:
    """Return the key of a pair of cameras, in whatever order they come."""
    return "|".join(sorted((_plain(one), _plain(other))))


def _plain(camera: object) -> str:
    """Return a camera's name without the character that parts two names."""
    return str(camera).replace("|", "/")


def _log_odds(share: float) -> float:
    return float(np.log(share) - np.log1p(-share))
