import numpy as np
import pandas as pd
import pytest

from reidlib.calibration.calibration import Calibration, Curve
from reidlib.gallery.known import with_probabilities

CURVE = Curve(
    slope=10.0, offset=-6.0, false_match_rates=(0.001, 0.01, 0.1), thresholds=(0.8, 0.6, 0.4), pairs=9, strangers=9
)
LEARNT = Calibration(prior=0.1, source="strangers", pooled=CURVE)


def test_similarities_become_probabilities_and_known_or_not():
    answers = pd.DataFrame({"query": [0, 0, 1], "similarity": np.float32([0.9, 0.59, 0.3])})
    found = with_probabilities(answers, LEARNT.to_dict(), false_match_rate=0.01)
    expected = 1 / (1 + np.exp(6 - 10 * answers["similarity"].to_numpy(np.float64)))
    np.testing.assert_allclose(found["probability"], expected)
    assert found["known"].tolist() == [True, False, False]  # nothing of query 1: nobody known
    assert with_probabilities(answers, LEARNT.to_dict(), false_match_rate=0.1)["known"].tolist() == [True, True, False]
    assert list(answers) == ["query", "similarity"]


def test_without_a_calibration_answers_stay_as_they_are():
    answers = pd.DataFrame({"similarity": np.float32([0.9])})
    assert with_probabilities(answers, None, false_match_rate=0.01) is answers


def test_a_rate_that_nothing_can_tell_is_refused():
    with pytest.raises(ValueError, match=r"false_match_rate: expected 0\.001 to 0\.1"):
        with_probabilities(pd.DataFrame({"similarity": [0.5]}), LEARNT.to_dict(), false_match_rate=1e-6)
