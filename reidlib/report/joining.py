"""When each image came to where it ended: the epoch from which on it lay with its cluster."""

import numpy as np
import pandas as pd
from jaxtyping import Int32, Int64


def joining_epochs(epochs: pd.DataFrame, labels: Int32[np.ndarray, "n"]) -> Int32[np.ndarray, "n"]:
    """Return for each image the first epoch (from 1) since which it lay together with most of its final cluster.

    Labels are numbered anew each epoch: in each, the cluster that most members of a final cluster are in, outliers left
    out, stands for it (among equals the one of the lowest number).

    Args:
        epochs: epoch, row and label, as the training stages keep them; what an epoch does not hold counts as outlier.
        labels: at the end, -1 = outlier.

    Returns:
        Epochs; 0 for outliers, and images that did not lie with their cluster in the last epoch.
    """
    joined = np.zeros(len(labels), np.int32)
    for number, part in epochs.groupby("epoch"):
        then = np.full(len(labels), -1, np.int32)
        then[part["row"].to_numpy()] = part["label"].to_numpy()
        together = (labels >= 0) & (then >= 0) & (then == _usual(labels, then)[labels])
        joined = np.where(together, np.where(joined > 0, joined, int(str(number)) + 1), 0).astype(np.int32)
    return joined


def _usual(labels: Int32[np.ndarray, "n"], then: Int32[np.ndarray, "n"]) -> Int64[np.ndarray, "c"]:
    """Return where most members of each final cluster were then; -1 where all were outliers."""
    usual = np.full(max(int(labels.max(initial=-1)) + 1, 1), -1, np.int64)
    inside = (labels >= 0) & (then >= 0)
    pairs, counts = np.unique(np.stack([labels[inside], then[inside]]), axis=1, return_counts=True)
    for place in np.lexsort((-pairs[1], counts)).tolist():  # the last one written is the most frequent, lowest
        usual[pairs[0, place]] = pairs[1, place]
    return usual
