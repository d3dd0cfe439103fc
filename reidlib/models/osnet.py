"""OSNet and OSNet-AIN: light blocks that see several scales at once and weigh them channel by channel."""

from collections import OrderedDict
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (64, 256, 384, 512)  # of the stem and of the three stages, at width 1

Form = Literal["plain", "batch", "instance"]
PLAIN: tuple[tuple[Form, Form], ...] = (("plain", "plain"),) * 3
# What the search of OSNet-AIN found: which of the two blocks of each stage normalise per image.
ADAPTIVE: tuple[tuple[Form, Form], ...] = (("instance", "instance"), ("batch", "instance"), ("instance", "batch"))


class OmniScaleBlock(nn.Module):
    """A residual of four streams of one to four light 3 x 3 convolutions, summed under one shared gate.

    [Zhou et al., ICCV 2019, arXiv:1905.00953]. The names are those of torchreid's published weights, which differ:
    the streams are `conv2a` to `conv2d` in those of OSNet, and `conv2.<stream>.layers` in those of OSNet-AIN.
    """

    def __init__(self, inputs: int, outputs: int, *, form: Form = "plain") -> None:
        """Build a block.

        Args:
            inputs: channels that come in.
            outputs: channels that go out; the streams have a quarter of them.
            form: `plain` for OSNet; for OSNet-AIN `instance`, where the residual is normalised per image, which removes
                style [Zhou et al., TPAMI 2021, arXiv:1910.06827], or `batch`.
        """
        super().__init__()
        inner = outputs // 4
        self.conv1 = convolution(inputs, inner)
        streams = [nn.Sequential(*(_light_convolution(inner) for _ in range(depth))) for depth in (1, 2, 3, 4)]
        if form == "plain":
            self.conv2a, self.conv2b, self.conv2c, self.conv2d = streams[0][0], *streams[1:]
        else:
            self.conv2 = nn.ModuleList(nn.Sequential(OrderedDict(layers=stream)) for stream in streams)
        self.gate = _gate(inner)
        self.conv3 = convolution(inner, outputs, norm=None if form == "instance" else nn.BatchNorm2d, relu=False)
        self.IN = nn.InstanceNorm2d(outputs, affine=True) if form == "instance" else None
        self.downsample = None if inputs == outputs else convolution(inputs, outputs, relu=False)

    def forward(self, features: Float[Tensor, "b inputs height width"]) -> Float[Tensor, "b outputs height width"]:
        """Add the gated scales to the features."""
        inner = self.conv1(features)
        streams = self.conv2 if hasattr(self, "conv2") else (self.conv2a, self.conv2b, self.conv2c, self.conv2d)
        scales = (stream(inner) for stream in streams)
        first, *others = (scale * self.gate(scale.mean((2, 3), keepdim=True)) for scale in scales)
        residual = self.conv3(sum(others, start=first))
        if self.IN is not None:
            residual = self.IN(residual)
        return functional.relu(residual + (features if self.downsample is None else self.downsample(features)))


def osnet(*, width: float = 1.0, adaptive: bool = False) -> nn.Sequential:
    """Build OSNet, (b, 3, H, W) to (b, 512 width, H / 16, W / 16) [Zhou et al., ICCV 2019, arXiv:1905.00953].

    torchreid's layer `fc` and its classifier are not part of it: our neck and losses stand in their place.

    Args:
        width: factor of all channels; published are 1, .75, .5 and .25.
        adaptive: OSNet-AIN, with instance norms in the stem and in the blocks of `ADAPTIVE`
            [Zhou et al., TPAMI 2021, arXiv:1910.06827].
    """
    inputs, *stages = (int(channels * width) for channels in CHANNELS)
    stem_norm = nn.InstanceNorm2d if adaptive else nn.BatchNorm2d
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=convolution(3, inputs, kernel=7, stride=2, norm=stem_norm), maxpool=nn.MaxPool2d(3, 2, padding=1)
    )
    forms = ADAPTIVE if adaptive else PLAIN
    for number, (outputs, (first, second)) in enumerate(zip(stages, forms, strict=True), start=2):
        stage = nn.Sequential(
            OmniScaleBlock(inputs, outputs, form=first), OmniScaleBlock(outputs, outputs, form=second)
        )
        parts[f"conv{number}"] = stage
        halving = nn.Sequential(convolution(outputs, outputs), nn.AvgPool2d(2, 2))
        if number < 4 and adaptive:
            parts[f"pool{number}"] = halving
        elif number < 4:
            stage.append(halving)
        inputs = outputs
    network: Any = nn.Sequential(parts | {"conv5": convolution(inputs, inputs)})
    draw(network)
    network.head_hidden_size = inputs
    return network


def convolution(
    inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, norm: Any = nn.BatchNorm2d, relu: bool = True
) -> nn.Sequential:
    """Return a convolution `conv` without bias that keeps the size at stride 1, its norm `bn` and a ReLU.

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        kernel: side of the kernel, odd.
        stride: step of the kernel.
        norm: class of the norm, None for none; an instance norm gets parameters.
        relu: whether a ReLU ends it.
    """
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    )
    if norm is not None:
        parts["bn"] = norm(outputs, affine=True)
    if relu:
        parts["relu"] = nn.ReLU(inplace=True)
    return nn.Sequential(parts)


def draw(network: nn.Module) -> None:
    """Draw the weights of all convolutions anew as torchreid does: He's normal for the outputs, biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _gate(channels: int) -> nn.Sequential:
    """Return what makes of the channels' means a factor for each: squeeze and excitation [arXiv:1709.01507]."""
    return nn.Sequential(
        OrderedDict(
            fc1=nn.Conv2d(channels, channels // 16, 1),
            relu=nn.ReLU(inplace=True),
            fc2=nn.Conv2d(channels // 16, channels, 1),
            sigmoid=nn.Sigmoid(),
        )
    )


def _light_convolution(channels: int) -> nn.Sequential:
    """Return the light 3 x 3 convolution: one over channels, then one over positions (depthwise)."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, channels, 1, bias=False),
            conv2=nn.Conv2d(channels, channels, 3, padding=1, bias=False, groups=channels),
            bn=nn.BatchNorm2d(channels),
            relu=nn.ReLU(inplace=True),
        )
    )
