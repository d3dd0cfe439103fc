"""The epoch of joining, against a loop over epochs, clusters and images."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from reidlib.report.joining import joining_epochs


def slow(epochs, labels):
    joined = [0] * len(labels)
    for row, label in enumerate(labels):
        for number in reversed(range(len(epochs))):
            then = epochs[number]
            members = Counter(
                then[other] for other in range(len(labels)) if labels[other] == label and then[other] >= 0
            )
            usual = min((-count, name) for name, count in members.items())[1] if members else None
            if label < 0 or then[row] < 0 or then[row] != usual:
                break
            joined[row] = number + 1
    return joined


def table(epochs):
    parts = [
        pd.DataFrame({"epoch": number, "row": range(len(then)), "label": then}) for number, then in enumerate(epochs)
    ]
    return pd.concat(parts).astype({"epoch": "int16", "row": "int32", "label": "int32"})


@pytest.mark.parametrize("seed", range(8))
def test_joining_is_that_of_the_loop(seed):
    generator = np.random.default_rng(seed)
    epochs = [generator.integers(-1, 4, 30).tolist() for _ in range(2)]
    epochs += [np.where(generator.random(30) < 0.2, generator.integers(-1, 4, 30), epochs[-1]).tolist()]
    labels = np.where(generator.random(30) < 0.2, generator.integers(-1, 4, 30), epochs[-1]).astype(np.int32)
    assert joining_epochs(table(epochs), labels).tolist() == slow(epochs, labels.tolist())


def test_numbers_may_change_and_rows_be_missing():
    epochs = table([[5, 5, 0, 0], [1, 1, 1, -1], [0, 0, 2, 0]])
    epochs = epochs[~((epochs["epoch"] == 1) & (epochs["row"] == 1))]
    assert joining_epochs(epochs, np.array([0, 0, 1, 0], np.int32)).tolist() == [1, 3, 1, 3]
    assert joining_epochs(epochs[:0], np.array([0, -1, 1, 0], np.int32)).tolist() == [0, 0, 0, 0]
