"""The learning rate over epochs."""

import pytest

from tests.training.plans import settings_of


@pytest.mark.parametrize(
    ("changes", "epochs", "shares"),
    [
        ({"epochs": 50, "decay_at": [20, 40]}, (0, 19, 20), (1, 1, 0.1)),
        ({"epochs": 12, "warm_up": 2, "cosine": True}, (0, 1, 2, 7, 11), (0.01, 0.505, 1, 0.5, 0.024)),
    ],
)
def test_the_rate_rises_falls_in_steps_and_along_half_a_cosine(changes, epochs, shares):
    settings = settings_of(**{"decay_at": []} | {"iterations": 1, "learning_rate": 0.1} | changes)
    assert [settings.rate(epoch) for epoch in epochs] == pytest.approx([0.1 * share for share in shares], abs=5e-5)
