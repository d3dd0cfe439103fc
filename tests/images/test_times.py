"""Times as text, and in the names of files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reidlib.images.times import name_with_time, seconds, time_in_name


def test_times_are_numbers_or_moments():
    assert seconds(3) == 3 and np.isnan(seconds(None)) and np.isnan(seconds(""))
    with pytest.raises(ValueError, match="expected a number or a time like"):
        seconds("noon")


@given(st.text(max_size=12), st.integers(0, 10**12))
def test_a_name_keeps_its_time(rest, milliseconds):
    assert time_in_name(name_with_time(rest, milliseconds / 1000)) == (rest, milliseconds / 1000)


@pytest.mark.parametrize("stem", ["", "451", "t3s", "_ts", "1_t3", "1_t3sx", "1_t-3s", "1_t3.s", "1_t1e3s"])
def test_other_names_hold_no_time(stem):
    rest, time = time_in_name(stem)
    assert rest == stem and np.isnan(time)
