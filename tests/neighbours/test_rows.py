"""Rows as the kernels take them: not copied where they fit, compiled for once, refused where they are no directions."""

import numpy as np
import pytest

from reidlib.labels import kernels as label_kernels
from reidlib.labels.graphs import blend
from reidlib.neighbours import kernels, search_kernels
from reidlib.neighbours.jaccard import jaccard_distance
from reidlib.neighbours.rows import read_only, unit_rows


def test_rows_are_copied_only_where_they_must_be(clustered_rows):
    rows = clustered_rows(20, 8, seed=0)
    view = read_only(rows)
    assert np.shares_memory(view, rows) and not view.flags.writeable and rows.flags.writeable
    assert not np.shares_memory(read_only(np.asfortranarray(rows)), rows)
    assert read_only(rows.astype(np.float64)).dtype == np.float32


def test_kernels_are_compiled_once_for_what_may_be_written_to_and_what_may_not(clustered_rows):
    rows = clustered_rows(40, 8, seed=1)
    compiled = [search_kernels.norms, search_kernels.settle, kernels.expanded_weights, label_kernels.blend]
    counts = []
    for writeable in (True, False):
        same = rows.copy()
        same.flags.writeable = writeable
        blend(jaccard_distance(same, k1=5, k2=2), same, original_weight=0.5)
        counts.append([len(kernel.signatures) for kernel in compiled])
    assert counts[0] == counts[1]


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1.02])
def test_rows_that_are_not_unit_norm_are_refused(clustered_rows, value):
    rows = clustered_rows(20, 8, seed=2)
    assert np.array_equal(unit_rows(rows, "rows"), rows)
    rows[11] *= value
    with pytest.raises(ValueError, match="queries must be finite rows of norm 1, but 1 of 20 are not; row 11 has norm"):
        unit_rows(rows, "queries")
