"""OSNet and OSNet-AIN against the papers' formulas on named tensors, and torchreid's names and counts."""

import pytest
import torch
from torch.nn import functional

from reidlib.models.osnet import OmniScaleBlock, osnet

INSTANCE = {"conv2.0", "conv2.1", "conv3.1", "conv4.0"}  # of OSNet-AIN [arXiv:1910.06827, figure 5]


def gate_size(inner):
    small = inner // 16
    return inner * small + small + small * inner + inner


def block_size(inputs, outputs):
    """Count: 1 x 1 down, 1 + 2 + 3 + 4 light convolutions, the gate, 1 x 1 up and the shortcut, two to each norm."""
    inner = outputs // 4
    light = inner * inner + 9 * inner + 2 * inner
    shortcut = inputs * outputs + 2 * outputs if inputs != outputs else 0
    return (inputs * inner + 2 * inner) + 10 * light + gate_size(inner) + (inner * outputs + 2 * outputs) + shortcut


def expected_size(stem, *stages):
    """Count the paper's table 1 [arXiv:1905.00953]: a 7 x 7 stem, two blocks a stage, 1 x 1 convolutions."""
    total = 3 * 49 * stem + 2 * stem
    for inputs, outputs in zip([stem, *stages], stages, strict=False):
        total += block_size(inputs, outputs) + block_size(outputs, outputs)
        total += outputs * outputs + 2 * outputs  # conv5 after the last stage, a transition after the others
    return total


def size(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("adaptive", [False, True])  # an instance norm takes the place of a batch norm
@pytest.mark.parametrize(
    ("width", "channels"),
    [
        (1.0, (64, 256, 384, 512)),
        (0.75, (48, 192, 288, 384)),
        (0.5, (32, 128, 192, 256)),
        (0.25, (16, 64, 96, 128)),
    ],
)
def test_parameter_counts_are_those_of_the_table(width, channels, adaptive):
    network = osnet(width=width, adaptive=adaptive)
    assert size(network) == expected_size(*channels)
    assert network.head_hidden_size == channels[-1]


def test_the_published_count_is_met():
    with_fc = size(osnet()) + 512 * 512 + 512 + 2 * 512  # torchreid's `fc`: linear and a norm
    assert round(with_fc / 1e6, 1) == 2.2  # million [arXiv:1905.00953, table 1]
    # torchreid prints 2,193,616: it counts a layer each time it runs, and a gate runs on four streams.
    assert with_fc + 3 * sum(2 * gate_size(inner) for inner in (64, 96, 128)) == 2_193_616


def norm_names(prefix):
    return {f"{prefix}.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}


def block_names(prefix, shortcut, adaptive):
    """Write down the names of a block in torchreid's state dicts."""
    names = {f"{prefix}.conv1.conv.weight"} | norm_names(f"{prefix}.conv1.bn")
    for stream, letter in enumerate("abcd"):
        for layer in range(stream + 1):
            if adaptive:
                light = f"{prefix}.conv2.{stream}.layers.{layer}"
            else:
                light = f"{prefix}.conv2{letter}" + (f".{layer}" if stream else "")
            names |= {f"{light}.conv1.weight", f"{light}.conv2.weight"} | norm_names(f"{light}.bn")
    names |= {f"{prefix}.gate.{layer}.{kind}" for layer in ("fc1", "fc2") for kind in ("weight", "bias")}
    names |= {f"{prefix}.conv3.conv.weight"}
    if adaptive and prefix in INSTANCE:
        names |= {f"{prefix}.IN.weight", f"{prefix}.IN.bias"}
    else:
        names |= norm_names(f"{prefix}.conv3.bn")
    return names | ({f"{prefix}.downsample.conv.weight"} | norm_names(f"{prefix}.downsample.bn") if shortcut else set())


@pytest.mark.parametrize("adaptive", [False, True])
def test_state_dict_has_torchreids_names(adaptive):
    names = {"conv1.conv.weight", "conv5.conv.weight"} | norm_names("conv5.bn")
    names |= {"conv1.bn.weight", "conv1.bn.bias"} if adaptive else norm_names("conv1.bn")
    for stage in (2, 3, 4):
        for block in (0, 1):
            names |= block_names(f"conv{stage}.{block}", block == 0, adaptive)
    for halving in ("pool2.0", "pool3.0") if adaptive else ("conv2.2.0", "conv3.2.0"):
        names |= {f"{halving}.conv.weight"} | norm_names(f"{halving}.bn")
    state = osnet(adaptive=adaptive).state_dict()
    assert state.keys() == names
    for name, shape in {
        "conv1.conv.weight": (64, 3, 7, 7),
        "conv2.0.conv1.conv.weight": (64, 64, 1, 1),
        "conv3.0.downsample.conv.weight": (384, 256, 1, 1),
        "conv4.1.gate.fc1.weight": (8, 128, 1, 1),
        "conv4.1.conv3.conv.weight": (512, 128, 1, 1),
        ("conv2.0.conv2.0.layers.0" if adaptive else "conv2.0.conv2a") + ".conv2.weight": (64, 1, 3, 3),
        "conv5.conv.weight": (512, 512, 1, 1),
    }.items():
        assert tuple(state[name].shape) == shape, name


class Naive:
    """OSNet in evaluation, from a state dict, one operation after the other."""

    def __init__(self, state, adaptive):
        self.state, self.adaptive = state, adaptive

    def norm(self, features, name):
        weight, bias = (self.state[f"{name}.{kind}"].view(1, -1, 1, 1) for kind in ("weight", "bias"))
        if f"{name}.running_mean" in self.state:
            mean, variance = (self.state[f"{name}.running_{kind}"].view(1, -1, 1, 1) for kind in ("mean", "var"))
        else:
            mean, variance = features.mean((2, 3), keepdim=True), features.var((2, 3), keepdim=True, correction=0)
        return (features - mean) / (variance + 1e-5).sqrt() * weight + bias

    def one(self, features, name):
        """Convolve over channels alone."""
        return torch.einsum("oi,bihw->bohw", self.state[f"{name}.weight"][:, :, 0, 0], features)

    def unit(self, features, name):
        return self.norm(self.one(features, f"{name}.conv"), f"{name}.bn").relu()

    def light(self, features, name):
        features = self.one(features, f"{name}.conv1")
        padded, kernel = functional.pad(features, (1, 1, 1, 1)), self.state[f"{name}.conv2.weight"]
        height, width = features.shape[2:]
        taps = [
            padded[:, :, y : y + height, x : x + width] * kernel[:, 0, y, x].view(1, -1, 1, 1)
            for y in range(3)
            for x in range(3)
        ]
        return self.norm(sum(taps), f"{name}.bn").relu()

    def gate(self, features, name):
        hidden = features.mean((2, 3), keepdim=True)
        for layer, activation in (("fc1", torch.relu), ("fc2", torch.sigmoid)):
            bias = self.state[f"{name}.{layer}.bias"].view(1, -1, 1, 1)
            hidden = activation(self.one(hidden, f"{name}.{layer}") + bias)
        return features * hidden

    def block(self, features, name):
        inner, total = self.unit(features, f"{name}.conv1"), 0
        for stream in range(4):
            scale = inner
            for layer in range(stream + 1):
                plain = f"{name}.conv2{'abcd'[stream]}" + (f".{layer}" if stream else "")
                scale = self.light(scale, f"{name}.conv2.{stream}.layers.{layer}" if self.adaptive else plain)
            total = total + self.gate(scale, f"{name}.gate")
        residual = self.one(total, f"{name}.conv3.conv")
        residual = self.norm(residual, f"{name}.IN" if self.adaptive and name in INSTANCE else f"{name}.conv3.bn")
        if f"{name}.downsample.conv.weight" in self.state:
            features = self.norm(self.one(features, f"{name}.downsample.conv"), f"{name}.downsample.bn")
        return (residual + features).relu()

    def __call__(self, images):
        features = functional.conv2d(images, self.state["conv1.conv.weight"], stride=2, padding=3)
        features = functional.max_pool2d(self.norm(features, "conv1.bn").relu(), 3, 2, padding=1)
        for stage in (2, 3, 4):
            for block in (0, 1):
                features = self.block(features, f"conv{stage}.{block}")
            if stage < 4:
                halving = f"pool{stage}.0" if self.adaptive else f"conv{stage}.2.0"
                features = functional.avg_pool2d(self.unit(features, halving), 2)
        return self.unit(features, "conv5")


@pytest.mark.parametrize("adaptive", [False, True])
def test_equals_the_formulas(adaptive):
    torch.manual_seed(0)
    network = osnet(width=0.25, adaptive=adaptive).double()
    images = torch.randn(3, 3, 64, 32, dtype=torch.float64)
    network(images)  # moves the running statistics
    for parameter in network.parameters():
        if parameter.dim() == 1:  # norms and biases begin at 1 and 0
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    with torch.no_grad():
        found = network.eval()(images)
        expected = Naive(network.state_dict(), adaptive)(images)
    assert found.shape == (3, 128, 4, 2) and found.abs().max() > 0.1
    torch.testing.assert_close(found, expected)


def test_the_instance_norms_remove_a_change_of_contrast():
    """A scaled residual, which a style may bring, leaves an instance-normed block's residual as it was."""
    torch.manual_seed(0)
    features = torch.randn(2, 64, 8, 4, dtype=torch.float64)
    for form, same in (("instance", True), ("batch", False)):
        block = OmniScaleBlock(64, 64, form=form).double().eval()
        with torch.no_grad():
            block.conv3.conv.weight *= 100  # far above the norm's eps
            before = block(features)
            block.conv3.conv.weight *= 3
        assert torch.allclose(block(features), before, atol=1e-3) is same


@pytest.mark.parametrize("adaptive", [False, True])
def test_every_parameter_learns(adaptive):
    torch.manual_seed(0)
    network = osnet(adaptive=adaptive)
    network(torch.randn(2, 3, 64, 32)).square().mean().backward()
    assert all(value.grad.any() for value in network.parameters())
