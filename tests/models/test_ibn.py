"""IBN-a and IBN-b against their parts, and the names of the published weights."""

import copy

import pytest
import timm
import torch
from torch import nn

from reidlib.models.embedder import Architecture, new_embedder
from reidlib.models.ibn import InstanceBatchNorm, ibn_a, ibn_b
from reidlib.models.weights import load_weights


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


@pytest.mark.parametrize(("name", "last", "channels"), [("resnet50", ("2", "3"), 256), ("resnet18", ("1", "1"), 64)])
def test_ibn_b_has_the_published_names_and_shapes(name, last, channels):
    plain = timm.create_model(name, num_classes=0)
    expected = {key: tuple(value.shape) for key, value in plain.state_dict().items()}
    for key in ("running_mean", "running_var", "num_batches_tracked"):
        del expected[f"bn1.{key}"]
    for stage, block in enumerate(last):
        for key in ("weight", "bias"):
            expected[f"layer{stage + 1}.{block}.IN.{key}"] = (channels * (stage + 1),)
    assert {key: tuple(value.shape) for key, value in ibn_b(plain).state_dict().items()} == expected


@pytest.mark.parametrize("name", ["resnet26", "resnet18"])
def test_ibn_b_normalises_the_sum_before_the_activation(name):
    torch.manual_seed(0)
    network = ibn_b(timm.create_model(name, num_classes=0)).eval()
    block = network.layer2[-1]
    torch.nn.init.uniform_(block.IN.weight)
    torch.nn.init.uniform_(block.IN.bias)
    features = torch.randn(2, block.conv1.in_channels, 6, 3)
    seen = {}
    block.IN.register_forward_hook(lambda _m, inputs, _o: seen.update(sum=inputs[0]))
    with torch.no_grad():
        found = block(features)
        residual = features
        for i in (1, 2, 3) if hasattr(block, "conv3") else (1, 2):
            residual = getattr(block, f"bn{i}")(getattr(block, f"conv{i}")(residual.relu() if i > 1 else residual))
    summed = residual + features
    torch.testing.assert_close(seen["sum"], summed)
    mean, variance = summed.mean((2, 3), keepdim=True), summed.var((2, 3), keepdim=True, correction=0)
    weight, bias = (value.detach().view(1, -1, 1, 1) for value in (block.IN.weight, block.IN.bias))
    expected = ((summed - mean) / (variance + 1e-5).sqrt() * weight + bias).relu()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_copy_of_an_ibn_b_uses_its_own_norms():
    network = ibn_b(timm.create_model("resnet18", num_classes=0)).eval()
    images = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        twin = copy.deepcopy(network)
        before = twin(images)
        torch.nn.init.zeros_(network.layer1[-1].IN.weight)
        assert torch.equal(twin(images), before) and not torch.equal(network(images), before)


def test_ibn_b_of_other_networks_is_refused():
    for name in ("resnest14d", "mobilenetv3_small_050"):
        with pytest.raises(ValueError, match="ibn_b: expected a ResNet of timm"):
            ibn_b(timm.create_model(name, num_classes=0))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_file_with_the_published_names_and_shapes_of_resnet50_ibn_a_loads(tmp_path, prefix, capsys):
    expansions = {"conv1": 1, "conv2": 1, "conv3": 4}
    shapes = published_ibn_a((3, 4, 6, 3), 3, 4) | {"conv1.weight": (64, 3, 7, 7), "fc.weight": (10, 2048)}
    inputs = 64
    for stage, count in enumerate((3, 4, 6, 3), start=1):
        planes = 32 * 2**stage
        for block in range(count):
            prefixes = f"layer{stage}.{block}"
            sizes = {"conv1": (inputs, 1), "conv2": (planes, 3), "conv3": (planes, 1)}
            for name, (channels, side) in sizes.items():
                shapes[f"{prefixes}.{name}.weight"] = (planes * expansions[name], channels, side, side)
            if block == 0:
                shapes[f"{prefixes}.downsample.0.weight"] = (planes * 4, inputs, 1, 1)
            inputs = planes * 4
    made = {prefix + name: torch.full(shape, i % 7 + 1) for i, (name, shape) in enumerate(shapes.items())}
    torch.save(made, tmp_path / "resnet50_ibn_a.pth")
    architecture = Architecture(
        backbone="resnet50_ibn_a", last_stride=1, pooling="gem", gem_power=3.0, batch_norm_group=64
    )
    model = new_embedder(architecture, seed=0)
    load_weights(model, weights="resnet50_ibn_a.pth", folder=tmp_path)
    for name, value in model.backbone.state_dict().items():
        assert (value == made[prefix + name]).all(), name
    assert "ResNet-IBN-a of IBN-Net" in capsys.readouterr().out
