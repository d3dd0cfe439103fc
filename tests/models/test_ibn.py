"""IBN-a against its parts, and the names of the published weights."""

import pytest
import timm
import torch
from torch import nn

from reidlib.models.ibn import InstanceBatchNorm, ibn_a


def published_ibn_a(blocks: tuple[int, ...], convolutions: int, expansion: int) -> dict[str, tuple[int, ...]]:
    """Write down names and shapes of the norms of IBN-Net's resnet*_ibn_a state dicts, from the paper's figure."""

    def norm(prefix: str, size: int) -> dict[str, tuple[int, ...]]:
        shapes = {f"{prefix}.{name}": (size,) for name in ("weight", "bias", "running_mean", "running_var")}
        return shapes | {f"{prefix}.num_batches_tracked": ()}

    names = norm("bn1", 64)
    for stage, count in enumerate(blocks, start=1):
        planes = 32 * 2**stage
        for block in range(count):
            prefix = f"layer{stage}.{block}"
            if stage < 4:
                names |= {f"{prefix}.bn1.IN.{name}": (planes // 2,) for name in ("weight", "bias")}
                names |= norm(f"{prefix}.bn1.BN", planes // 2)
            else:
                names |= norm(f"{prefix}.bn1", planes)
            for i in range(2, convolutions + 1):
                names |= norm(f"{prefix}.bn{i}", planes * (expansion if i == convolutions == 3 else 1))
            if block == 0 and (stage > 1 or expansion > 1):
                names |= norm(f"{prefix}.downsample.1", planes * expansion)
    return names


@pytest.mark.parametrize(
    ("name", "blocks", "convolutions", "expansion"),
    [("resnet50", (3, 4, 6, 3), 3, 4), ("resnet18", (2, 2, 2, 2), 2, 1)],
)
def test_state_dict_has_the_published_names_and_shapes(name, blocks, convolutions, expansion):
    plain = timm.create_model(name, num_classes=0)
    convs = {key: tuple(value.shape) for key, value in plain.state_dict().items() if value.dim() == 4}
    found = {key: tuple(value.shape) for key, value in ibn_a(plain).state_dict().items()}
    assert found == convs | published_ibn_a(blocks, convolutions, expansion)


def test_published_conv_names_of_resnet50():
    found = ibn_a(timm.create_model("resnet50", num_classes=0)).state_dict()
    for name, shape in {
        "conv1.weight": (64, 3, 7, 7),
        "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer2.0.conv2.weight": (128, 128, 3, 3),
        "layer3.5.conv3.weight": (1024, 256, 1, 1),
        "layer4.0.downsample.0.weight": (2048, 1024, 1, 1),
    }.items():
        assert tuple(found[name].shape) == shape


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("channels", [2, 5, 64])
def test_halves_are_normalised_each_in_its_way(training, channels):
    norm = InstanceBatchNorm(channels).train(training)
    features = torch.randn(4, channels, 6, 3, generator=torch.Generator().manual_seed(0)) * 3 + 2
    found = norm(features)
    half = channels // 2
    own = features[:, :half]
    mean, variance = own.mean((2, 3), keepdim=True), own.var((2, 3), keepdim=True, correction=0)
    torch.testing.assert_close(found[:, :half], (own - mean) / (variance + 1e-5).sqrt(), atol=1e-5, rtol=1e-5)
    batch = nn.BatchNorm2d(channels - half).train(training)
    torch.testing.assert_close(found[:, half:], batch(features[:, half:]))


def test_network_runs_and_learns():
    network = ibn_a(timm.create_model("resnet18", num_classes=0))
    network(torch.randn(2, 3, 64, 32)).sum().backward()
    assert network.layer1[0].bn1.IN.weight.grad is not None
    network.half()  # the method of nn.Module, which a careless attribute would hide


def test_other_networks_are_refused():
    with pytest.raises(ValueError, match="layer1"):
        ibn_a(nn.Sequential(nn.Conv2d(3, 3, 1)))
    with pytest.raises(ValueError, match="bn1"):
        ibn_a(ibn_a(timm.create_model("resnet18", num_classes=0)))
