"""Pooling against loops over the positions."""

import pytest
import torch

from reidlib.models.attention import add_attention
from reidlib.models.backbones import backbone
from reidlib.models.pooling import POOLINGS, GeM, pooling


def features(seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(3, 5, 4, 2, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("power", [1.0, 3.0, 6.5])
@pytest.mark.parametrize("trainable", [False, True])
def test_gem_is_the_generalised_mean_of_the_positive_part(power, trainable):
    pooled = GeM(power, trainable=trainable)(features())
    for image, row in zip(features().tolist(), pooled.tolist(), strict=True):
        for channel, found in zip(image, row, strict=True):
            values = [max(value, 1e-6) for line in channel for value in line]
            assert found == pytest.approx(
                (sum(value**power for value in values) / len(values)) ** (1 / power), rel=1e-5
            )


def test_trained_power_has_a_gradient_and_stays_at_one_or_above():
    pool = GeM(3.0, trainable=True)
    pool(features()).sum().backward()
    assert pool.power.grad.abs() > 0
    with torch.no_grad():
        pool.power.fill_(-4)
    assert torch.equal(pool(features()), GeM(1.0)(features()))
    assert list(pool.state_dict()) == ["power"]
    assert list(GeM(3.0).state_dict()) == []


def test_gem_keeps_float32_inside_autocast():
    large = features(scale=1e4).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = GeM(6.0)(large)
    assert pooled.dtype == torch.float32
    assert torch.equal(pooled, GeM(6.0)(large.float()))
    assert pooled.isfinite().all()


def test_gradient_is_finite_where_nothing_is_positive():
    empty = torch.zeros(1, 1, 2, 2, requires_grad=True)
    GeM(3.0)(empty).sum().backward()
    assert empty.grad.isfinite().all()


def test_poolings_by_name():
    mean, largest = features().mean((2, 3)), features().amax((2, 3))
    for name, expected in (("average", mean), ("max", largest), ("average_max", mean + largest)):
        torch.testing.assert_close(POOLINGS[name](3.0)(features()), expected)
        coarse = POOLINGS[name](3.0)(features().bfloat16())
        assert torch.equal(coarse, POOLINGS[name](3.0)(features().bfloat16().float()))
    tokens = features()[:, :, :, 0]
    assert torch.equal(POOLINGS["token"](3.0)(tokens.bfloat16()), tokens.bfloat16()[:, 0].float())
    assert torch.equal(POOLINGS["gem"](4.0)(features()), GeM(4.0)(features()))
    assert "trainable=True" in repr(POOLINGS["gem_trained"](2.0))


def test_attention_with_layer_norms_leaves_a_network_its_poolings():
    network, _ = backbone("resnet18_half")
    add_attention(network, name="global_context", after="layer2")
    assert isinstance(pooling("gem", power=3.0, network=network), GeM)
    network, _ = backbone("timm/convnext_atto")
    add_attention(network, name="global_context", after="stages.2.blocks")
    with pytest.raises(ValueError, match="expected average or average_max or max"):
        pooling("gem", power=3.0, network=network)


@pytest.mark.parametrize("wrong", [{"power": 0.5}, {"power": float("nan")}, {"eps": 0.0}])
def test_wrong_values_are_refused(wrong):
    with pytest.raises(ValueError, match="GeM"):
        GeM(**wrong)


def test_a_convnext_pools_before_its_norm_as_in_its_own_head():
    network, width = backbone("timm/test_convnext")
    torch.manual_seed(0)
    norm = network.head.norm
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    names, images = list(network.state_dict()), torch.randn(3, 3, 64, 32)
    maps = network.forward_features(images)
    before = pooling("average", power=3.0, network=network)(network(images))
    pool = pooling("average_norm", power=3.0, network=network)
    found = pool(network(images))
    assert list(network.state_dict()) == names and found.shape == (3, width) and found.dtype == torch.float32
    for row, of_image in zip(found, maps, strict=True):
        mean = torch.stack([channel.mean() for channel in of_image])
        spread = ((mean - mean.mean()) ** 2).mean()
        expected = (mean - mean.mean()) / (spread + norm.eps).sqrt() * norm.weight + norm.bias
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, before, atol=1e-2)
    with pytest.raises(ValueError, match="found 'average_norm'"):
        pooling("average_norm", power=3.0, network=backbone("resnet18_half")[0])
