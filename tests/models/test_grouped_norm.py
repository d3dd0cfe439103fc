"""Grouped batch normalisation against plain batch normalisation of each group alone."""

import copy

import pytest
import torch
from torch import nn

from reidlib.models.grouped_norm import GroupedBatchNorm, group_norms
from reidlib.models.ibn import InstanceBatchNorm


def features(count: int, *positions: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, 5, *positions, generator=generator) * torch.arange(1, count + 1).view(
        -1, 1, *(1 for _ in positions)
    )


@pytest.mark.parametrize("positions", [(), (7,), (4, 3)])
@pytest.mark.parametrize(
    ("count", "most", "group"), [(12, 4, 4), (12, 6, 6), (8, 8, 8), (5, 8, 5), (6, 4, 3), (15, 8, 5)]
)
def test_equals_plain_normalisation_of_every_group(positions, count, most, group):
    grouped = GroupedBatchNorm(5, group=most)
    with torch.no_grad():
        grouped.weight.uniform_(0.5, 2)
        grouped.bias.uniform_(-1, 1)
    mean, variance = torch.zeros(5), torch.ones(5)
    for step in range(3):
        batch = (features(count, *positions) + step).requires_grad_()
        twin = batch.detach().clone().requires_grad_()
        expected, means, variances = [], [], []
        for part in twin.split(group):
            plain = (nn.BatchNorm2d if len(positions) == 2 else nn.BatchNorm1d)(5)
            plain.weight, plain.bias = grouped.weight, grouped.bias
            expected.append(plain(part))
            means.append((plain.running_mean - 0) / 0.1)  # a fresh norm's first step tells the group's statistics
            variances.append((plain.running_var - 0.9) / 0.1)
        found = grouped(batch)
        torch.testing.assert_close(found, torch.cat(expected))
        (found**3).sum().backward()
        (torch.cat(expected) ** 3).sum().backward()
        torch.testing.assert_close(batch.grad, twin.grad)
        mean = 0.9 * mean + 0.1 * torch.stack(means).mean(0)
        variance = 0.9 * variance + 0.1 * torch.stack(variances).mean(0)
        torch.testing.assert_close(grouped.running_mean, mean)
        torch.testing.assert_close(grouped.running_var, variance, rtol=1e-4, atol=1e-4)
    assert grouped.num_batches_tracked == 3


def test_one_group_is_plain_normalisation_bit_for_bit():
    plain, grouped = nn.BatchNorm2d(5), GroupedBatchNorm(5, group=8)
    for step in range(3):
        batch = features(8, 4, 3) + step
        assert torch.equal(plain(batch), grouped(batch))
    for (name, value), (other, found) in zip(plain.state_dict().items(), grouped.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(value, found)
    assert torch.equal(plain.eval()(features(11, 4, 3)), grouped.eval()(features(11, 4, 3)))


def test_one_large_batch_equals_four_small_devices():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(5, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3), nn.BatchNorm1d(3)
    )
    one = group_norms(copy.deepcopy(network), group=4)
    batch = features(16, 4, 3)
    (one(batch) ** 2).mean().backward()
    for part in batch.split(4):  # as data parallel training averages the devices' gradients
        ((network(part) ** 2).mean() / 4).backward()
    for mine, theirs in zip(one.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-6, rtol=1e-4)


def test_swapping_keeps_parameters_and_state():
    model = nn.Sequential(InstanceBatchNorm(6), nn.ModuleDict({"neck": nn.BatchNorm1d(6)}))
    model[0](torch.randn(4, 6, 3, 3))
    model[1]["neck"].bias.requires_grad_(False)
    model.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parameters = list(model.parameters())
    assert group_norms(model, group=2) is model
    assert isinstance(model[0].BN, GroupedBatchNorm)
    assert isinstance(model[1]["neck"], GroupedBatchNorm)
    assert not model[0].BN.training
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert not model[1]["neck"].bias.requires_grad
    after = model.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert "group=2" in repr(model)


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match=r"whole groups of 4 samples, .* got 7 samples"):
        GroupedBatchNorm(5, group=4)(features(7, 4, 3))
    with pytest.raises(ValueError, match="SyncBatchNorm"):
        group_norms(nn.Sequential(nn.SyncBatchNorm(5)), group=4)
    with pytest.raises(ValueError, match="running statistics"):
        group_norms(nn.Sequential(nn.BatchNorm2d(5, track_running_stats=False)), group=4)
    with pytest.raises(ValueError, match="dimensions"):
        GroupedBatchNorm(5, group=4)(torch.zeros(2, 5, 1, 1, 1))


def test_a_norm_with_its_activation_keeps_it():
    from timm.layers import BatchNormAct2d

    torch.manual_seed(0)
    plain = nn.Sequential(BatchNormAct2d(5))
    grouped = group_norms(copy.deepcopy(plain), group=8)
    assert list(grouped.state_dict()) == list(plain.state_dict())
    batch = features(8, 4, 3)
    found = grouped(batch)
    assert torch.equal(plain(batch), found) and (found >= 0).all()
    assert torch.equal(plain.eval()(batch), grouped.eval()(batch))
    halves = nn.Sequential(GroupedBatchNorm(5, group=4), nn.ReLU())
    torch.testing.assert_close(group_norms(copy.deepcopy(plain.train()), group=4)(batch), halves(batch))
