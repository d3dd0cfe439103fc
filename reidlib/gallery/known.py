"""What a calibration makes of similarities: how likely two pictures show the same, and whether anyone is known."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from reidlib.calibration.calibration import Calibration

FALSE_MATCH_RATE = 0.01


def with_probabilities(
    answers: pd.DataFrame, calibration: Mapping[str, Any] | None, *, false_match_rate: float
) -> pd.DataFrame:
    """Return answers with two more columns, where the model was calibrated.

    probability: P(same | cosine), of all pairs of cameras together, with the calibration's prior. known: whether the
    similarity reaches the threshold that pictures of strangers reach at this rate; a query none of whose answers is
    known is somebody that the gallery does not know.

    Args:
        answers: with a column similarity.
        calibration: `Description.calibration`.
        false_match_rate: share of pairs of different individuals, between 0 and 1.

    Raises:
        ValueError: for a rate that nothing of what was learnt can tell.
    """
    if calibration is None:
        return answers
    learnt = Calibration.from_dict(calibration)
    similarity = answers["similarity"].to_numpy(np.float64)
    threshold = float(learnt.threshold(false_match_rate=false_match_rate))
    return answers.assign(probability=learnt.probability(similarity), known=similarity >= threshold)
