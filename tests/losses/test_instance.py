"""Instance discrimination as a term; its formula is tested in `test_losses`."""

import torch
from torch.nn import functional

from reidlib.losses.instance import Instance
from reidlib.losses.softmax import instance_discrimination
from reidlib.models.embedder import Features


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_compares_the_unit_norm_embeddings_of_two_views(make_batch):
    term = Instance(temperature=0.3)
    assert term.views == 2
    first, second = random(5, 2, 3), random(5, 2, 3, seed=1)
    found = term(make_batch(Features(first * 0, first), [0] * 5, second=Features(second * 0, second)))
    one, other = functional.normalize(first.reshape(5, 6)), functional.normalize(second.reshape(5, 6))
    torch.testing.assert_close(found, instance_discrimination(one, other, temperature=0.3))
    assert found != Instance()(make_batch(first, [0] * 5, second=second))
