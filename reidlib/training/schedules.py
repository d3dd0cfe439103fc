"""The learning rate over epochs."""

import math
from collections.abc import Sequence


def rate_share(
    epoch: int,
    epochs: int,
    *,
    warm_up: int = 0,
    warm_up_from: float = 0.01,
    decay_at: Sequence[int] = (),
    decay_factor: float = 0.1,
    cosine: bool = False,
) -> float:
    """Return the share of the full learning rate in an epoch, from 0: warm-up, steps and cosine, multiplied.

    Args:
        epoch: from 0.
        epochs: in all.
        warm_up: epochs over which the rate rises in a line [Luo et al., CVPRW 2019, arXiv:1903.07071].
        warm_up_from: the share that it rises from.
        decay_at: epochs from each of which on the rate is multiplied by `decay_factor`.
        decay_factor: 0..1.
        cosine: fall along half a cosine after the warm-up [Loshchilov & Hutter, ICLR 2017, arXiv:1608.03983], to 0 at
            the end.

    >>> [rate_share(epoch, 50, decay_at=[20, 40]) for epoch in (0, 19, 20)]
    [1.0, 1.0, 0.1]
    >>> [round(rate_share(epoch, 12, warm_up=2, cosine=True), 3) for epoch in (0, 1, 2, 7, 11)]
    [0.01, 0.505, 1.0, 0.5, 0.024]
    """
    share = decay_factor ** sum(epoch >= first for first in decay_at)
    if epoch < warm_up:
        return float(share * (warm_up_from + (1 - warm_up_from) * epoch / warm_up))
    done = (epoch - warm_up) / max(epochs - warm_up, 1)
    return float(share * ((1 + math.cos(math.pi * done)) / 2 if cosine else 1.0))
