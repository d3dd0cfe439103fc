"""Probabilities and thresholds against loops over pairs; what is refused; what it costs to import."""

import math
import subprocess
import sys

import numpy as np
import pytest

from reidlib.calibration.calibration import Calibration, Curve, camera_pair, read_calibration, write_calibration


def curve(**values):
    rates, cosines = (0.001, 0.01, 0.1), (0.8, 0.6, 0.2)
    known = {"slope": 9.0, "offset": -5.0, "false_match_rates": rates, "thresholds": cosines}
    return Curve(**known | {"pairs": 1000, "strangers": 2000} | values)


def calibration(**values):
    other = curve(slope=12.0, offset=-7.0, false_match_rates=(0.01, 0.1), thresholds=(0.7, 0.3))
    return Calibration(**{"prior": 0.01, "source": "strangers", "pooled": curve(), "cameras": {"0|2": other}} | values)


def test_probabilities_and_thresholds_are_those_of_each_pair_of_cameras():
    drawn, known = np.random.default_rng(0), calibration()
    cosines = drawn.uniform(-1, 1, (6, 5)).astype(np.float32)
    one, other = drawn.integers(0, 4, 6), drawn.integers(0, 4, 5)
    found = known.probability(cosines, (one[:, None], other[None]))
    thresholds = known.threshold(false_match_rate=0.01, cameras=(one[:, None], other[None]))
    for row in range(6):
        for column in range(5):
            own = {int(one[row]), int(other[column])} == {0, 2}
            slope, offset, threshold = (12.0, -7.0, 0.7) if own else (9.0, -5.0, 0.6)
            expected = 1 / (1 + math.exp(-(slope * float(cosines[row, column]) + offset)))
            assert found[row, column] == pytest.approx(expected, rel=1e-9)
            assert np.broadcast_to(thresholds, (6, 5))[row, column] == threshold
    np.testing.assert_allclose(known.probability(cosines), 1 / (1 + np.exp(-(9.0 * cosines.astype(float) - 5))))
    assert known.threshold(false_match_rate=0.01, cameras=("2", "0")) == 0.7  # names as text, in any order
    assert known.threshold(false_match_rate=0.001, cameras=(0, 2)) == 0.8  # which the pair's own curve cannot tell


def test_another_prior_moves_the_odds_by_their_ratio():
    known, cosines = calibration(), np.linspace(-1, 1, 9)
    odds = [value / (1 - value) for value in known.probability(cosines)]
    moved = [value / (1 - value) for value in known.probability(cosines, prior=0.5)]
    np.testing.assert_allclose(moved, np.array(odds) * (0.5 / 0.5) / (0.01 / 0.99), rtol=1e-6)
    np.testing.assert_allclose(known.probability(cosines, prior=0.01), known.probability(cosines))
    with pytest.raises(ValueError, match="prior: expected a share"):
        known.probability(cosines, prior=1.0)


def test_a_threshold_between_two_rates_lies_between_theirs_and_others_are_refused():
    known = calibration()
    assert known.threshold(false_match_rate=0.01) == pytest.approx(0.6)
    assert known.threshold(false_match_rate=10**-1.5) == pytest.approx(0.4)  # half way, logarithmically
    for rate in (0.0005, 0.2):
        with pytest.raises(ValueError, match=r"false_match_rate: expected 0.001 to 0.1, which 2,000 pairs"):
            known.threshold(false_match_rate=rate)


def test_it_is_read_as_it_was_written(tmp_path):
    known = calibration()
    write_calibration(tmp_path / "calibration.json", known)
    assert read_calibration(tmp_path / "calibration.json") == known == Calibration.from_dict(known.to_dict())
    assert camera_pair(10, 2) == camera_pair("2", "10") == "10|2"


def test_a_camera_may_be_called_anything():
    other = curve(thresholds=(0.9, 0.7, 0.3))
    known = calibration(cameras={camera_pair("a|b", "c"): other})
    assert known.threshold(false_match_rate=0.01, cameras=("c", "a|b")) == 0.7


@pytest.mark.parametrize("text", ["", "{}", "null", '{"prior": 2}'])
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "calibration.json"
    with pytest.raises(ValueError, match="no such calibration"):
        read_calibration(path)
    path.write_text(text)
    with pytest.raises(ValueError, match="not a calibration written by this pipeline"):
        read_calibration(path)


@pytest.mark.parametrize(
    "values", [{"false_match_rates": (0.1, 0.01, 0.2)}, {"thresholds": (0.1, 0.2, 0.3)}, {"thresholds": (0.1,)}]
)
def test_curves_out_of_order_are_refused(values):
    with pytest.raises(ValueError, match="expected rising rates and a falling threshold"):
        curve(**values)
    written = calibration().to_dict()
    written["pooled"] |= {name: list(value) for name, value in values.items()}
    with pytest.raises(ValueError):
        Calibration.from_dict(written)


def test_importing_it_loads_no_torch():
    code = "import sys; import reidlib.calibration.calibration, reidlib.calibration.fit\n"
    code += "assert not {'torch', 'numba', 'faiss', 'sklearn'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
