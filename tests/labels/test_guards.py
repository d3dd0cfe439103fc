import numpy as np
import pytest

from reidlib.labels.guards import check_labels


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([-1] * 10, "no cluster at all, all 10 rows"),
        ([0] * 9 + [-1], "one cluster alone \\(9 of 10 rows\\)"),
        ([0, 1] + [-1] * 19, "19 of 21 rows are outliers"),
        ([], "no cluster at all"),
    ],
)
def test_labels_that_train_nothing_are_refused(labels, message):
    with pytest.raises(ValueError, match=message) as error:
        check_labels(np.array(labels, dtype=np.int32), parameter="cluster.method.eps")
    assert "move cluster.method.eps" in str(error.value)
    assert "refine.k1=8" in str(error.value) and "cluster.k1=8" in str(error.value)


def test_the_message_says_how_far_apart_the_rows_are(random_graph):
    graph, dense = random_graph(30, density=0.3, seed=0)
    quantiles = np.quantile(np.sort(dense, axis=1)[:, 1], [0.1, 0.5, 0.9])
    with pytest.raises(ValueError, match="nearest other row") as error:
        check_labels(np.full(30, -1), parameter="eps", distances=graph)
    for quantile in quantiles:
        assert f"{quantile:.3f}" in str(error.value)


def test_ninety_percent_outliers_pass():
    check_labels(np.array([0, 1] + [-1] * 18), parameter="eps")
