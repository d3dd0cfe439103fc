import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.labels.numbering import number_clusters, separate_outliers


@settings(max_examples=50, deadline=None)
@given(labels=st.lists(st.integers(-3, 6), max_size=30), smallest=st.integers(1, 3))
def test_numbers_follow_first_appearance(labels, smallest):
    numbers: dict[int, int] = {}
    expected = []
    for label in labels:
        if label < 0 or labels.count(label) < smallest:
            expected.append(-1)
        else:
            expected.append(numbers.setdefault(label, len(numbers)))
    found = number_clusters(np.array(labels, dtype=np.int64), smallest=smallest)
    assert found.dtype == np.int32
    assert found.tolist() == expected


def test_outliers_become_clusters_of_their_own():
    separate = separate_outliers(np.array([-1, 2, -1, 2]))
    assert separate.tolist() == [3, 2, 4, 2]
    assert separate_outliers(np.empty(0, dtype=np.int32)).tolist() == []
