"""The size of GAM, counted by hand, and its attention against loops."""

import numpy as np
import pytest
import torch
from torch import nn

from reidlib.models.backbones import backbone
from reidlib.models.gam import GroupAttention, gam


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def attention_size(channels: int) -> int:
    squeezed = channels // 32
    convolution, norm, positions = channels * channels // 8 * 9, 2 * channels, 7 * 7 + 1
    return convolution + norm + 2 * channels * squeezed + squeezed + channels + positions


def test_it_has_as_few_parameters_as_the_paper_says():
    """59.6 % fewer than ResNet-50 without its classifier [arXiv:2011.01888]."""
    blocks = downsampling = norms = 0
    inside = 64
    for planes, depth in ((64, 3), (128, 4), (256, 6), (512, 3)):
        outside = 4 * planes
        downsampling += inside * outside
        norms += 2 * outside
        for _ in range(depth):
            blocks += inside * planes + 9 * planes * planes + planes * outside
            norms += 2 * (2 * planes + outside)
            inside = outside
    resnet50 = 3 * 64 * 49 + 2 * 64 + blocks + downsampling + norms
    assert resnet50 == 23_508_032 == count(backbone("resnet50")[0])
    expected = resnet50 - blocks + blocks // 4 + attention_size(512) + attention_size(1024)
    assert count(gam()) == expected == 9_561_812
    assert 1 - count(gam()) / resnet50 == pytest.approx(0.596, abs=0.005)


def test_the_topology_is_a_resnets_and_the_attention_has_two_scales():
    network, width = backbone("gam")
    assert width == 2048 == network.head_hidden_size
    assert [len(network.get_submodule(f"layer{stage}")) for stage in (1, 2, 3, 4)] == [3, 5, 7, 3]
    scales = {}
    for name, module in network.named_modules():
        if isinstance(module, GroupAttention):
            module.register_forward_hook(lambda _m, _i, out, name=name: scales.update({name: tuple(out.shape[1:])}))
    with torch.inference_mode():
        assert network.eval()(torch.zeros(1, 3, 128, 64)).shape == (1, 2048, 4, 2)
    assert scales == {"layer2.4": (512, 16, 8), "layer3.6": (1024, 8, 4)}


@pytest.mark.parametrize("last_stride", [1, 2])
def test_the_small_one_is_for_a_processor(last_stride):
    network, width = backbone("gam_half", last_stride=last_stride)
    assert width == 256 and count(network) < 3e6
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert min(part.in_channels // part.groups for part in convolutions if part.groups > 1) >= 16
    images = torch.randn(4, 3, 64, 32)
    with torch.autocast("cpu", torch.bfloat16):
        features = network(images)
    assert features.shape == (4, 256, 4 // last_stride, 2 // last_stride)
    features.float().square().sum().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in network.parameters())


def test_group_attention_is_a_loop():
    torch.manual_seed(0)
    module = GroupAttention(32, groups=4, reduction=4).double().eval()
    nn.init.uniform_(module.norm.running_mean, -1, 1)
    trunk = torch.randn(2, 32, 5, 3).double()
    weights = {name: value.detach().numpy() for name, value in module.state_dict().items()}

    def convolved(image: np.ndarray, kernels: np.ndarray, groups: int) -> np.ndarray:
        side, inside, outside = kernels.shape[2], len(image) // groups, len(kernels) // groups
        padded = np.pad(image, ((0, 0), (side // 2,) * 2, (side // 2,) * 2))
        found = np.zeros((len(kernels), *image.shape[1:]))
        for channel, y, x in np.ndindex(found.shape):
            first = channel // outside * inside
            found[channel, y, x] = (padded[first : first + inside, y : y + side, x : x + side] * kernels[channel]).sum()
        return found

    def sigmoid(values: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-values))

    for image, found in zip(trunk.numpy(), module(trunk).detach().numpy(), strict=True):
        grouped = convolved(image, weights["conv.weight"], 4) - weights["norm.running_mean"][:, None, None]
        grouped = (grouped / np.sqrt(1 + 1e-5)).clip(0)
        squeezed = weights["channels.fc1.weight"][:, :, 0, 0] @ grouped.mean((1, 2)) + weights["channels.fc1.bias"]
        gate = sigmoid(weights["channels.fc2.weight"][:, :, 0, 0] @ squeezed.clip(0) + weights["channels.fc2.bias"])
        grouped *= gate[:, None, None]
        where = convolved(grouped.mean(0, keepdims=True), weights["positions.weight"], 1) + weights["positions.bias"]
        np.testing.assert_allclose(found, image + sigmoid(where))


def test_the_seed_decides_the_weights():
    def state(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        return gam(half=True).state_dict()

    first, second, other = state(0), state(0), state(1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["layer1.0.conv1.weight"], other["layer1.0.conv1.weight"])


def test_drop_path_reaches_the_blocks():
    network, _ = backbone("gam", drop_path=0.2)
    assert network.layer4[2].drop_path.drop_prob == pytest.approx(0.2)


def test_instance_norms_are_refused():
    with pytest.raises(ValueError, match="layer2"):
        backbone("gam_half_ibn_a")
