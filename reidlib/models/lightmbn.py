"""LightMBN: OSNet in three branches, whose seven parts look at all, at halves of the height and of the channels."""

import copy
from collections import OrderedDict
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from reidlib.models.osnet import OmniScaleBlock, convolution, draw, osnet

BRANCHES = ("whole", "stripes", "halves")


class LightMBN(nn.Module):
    """A lightweight multi-branch network [Herzog et al., ICIP 2021, arXiv:2101.10774], in the form `LMBN_n`.

    OSNet up to the first block of its second stage is shared; the rest is there once for each branch. The parts, in
    order: the average and, with rows dropped, the maximum of the branch `whole`; the maximum of the branch `stripes`,
    and the averages of its upper and lower half; the averages of the first and second half of the channels of the
    branch `halves`. The first five have a 1 x 1 convolution each, the last two share one.

    With `averages` the maxima are averages, and a ReLU ends the 1 x 1 convolutions: what the code of the toolbox
    computes that reports 91.7 mAP with generalised means, which it takes over one position each.

    Deviation: below width 1 the parts are as narrow as the branches. The BN necks of the parts are those of our
    embedder.

    Attributes:
        parts: how many vectors an image gets.
        head_hidden_size: their length, 512 at width 1.
        added_prefixes: the names of the parameters that OSNet does not have.
    """

    parts = 7

    def __init__(self, *, width: float = 1.0, averages: bool = False) -> None:
        """Build with random weights; `width` as of `osnet`."""
        super().__init__()
        self.maximum = _average if averages else _maximum
        self.end = functional.relu if averages else _same
        trunk: Any = osnet(width=width)
        channels = trunk.head_hidden_size
        self.head_hidden_size = channels
        self.conv1, self.maxpool, self.conv2 = trunk.conv1, trunk.maxpool, trunk.conv2
        self.conv3 = trunk.conv3[:1]
        rest = nn.Sequential(OrderedDict(conv3=trunk.conv3[1:], conv4=trunk.conv4, conv5=trunk.conv5))
        self.whole, self.stripes, self.halves = (copy.deepcopy(rest) for _ in BRANCHES)
        self.before_drop = OmniScaleBlock(channels, channels)
        self.drop = TopDrop()
        self.reductions = nn.ModuleList(nn.Conv2d(channels, channels, 1, bias=False) for _ in range(5))
        self.shared_reduction = convolution(channels // 2, channels)
        self.added_prefixes = ("before_drop.", "reductions.", "shared_reduction.")
        for added in (self.before_drop, self.reductions, self.shared_reduction):
            draw(added)

    def forward(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b 7 d"]:
        """Return the parts, before their necks."""
        features = self.conv3(self.conv2(self.maxpool(self.conv1(images))))
        whole, stripes = self.before_drop(self.whole(features)), self.stripes(features)
        upper, lower = torch.split(functional.adaptive_avg_pool2d(stripes, (2, 1)), 1, dim=2)
        pooled = [_average(whole), self.maximum(self.drop(whole)), self.maximum(stripes), upper, lower]
        parts = [self.end(reduce(part)) for reduce, part in zip(self.reductions, pooled, strict=True)]
        parts += [self.shared_reduction(half) for half in _average(self.halves(features)).chunk(2, dim=1)]
        return torch.stack(parts, dim=1).flatten(2)

    @staticmethod
    def original_name(name: str) -> str:
        """Return the name that a parameter has in OSNet, whose weights fill all three branches."""
        branch, _, rest = name.partition(".")
        return rest if branch in BRANCHES else name


class TopDrop(nn.Module):
    """In training, zero in the rows of each image that respond most; else nothing.

    [Quispe & Pedrini, Top-DB-Net, ICPR 2020, arXiv:2010.05435]: a row responds as its strongest position does, and a
    position by the sum of its squares over the channels.
    """

    def __init__(self, *, height_share: float = 0.33) -> None:
        """Drop this share of the rows, rounded."""
        super().__init__()
        self.height_share = height_share

    def forward(self, features: Float[Tensor, "b channels height width"]) -> Float[Tensor, "b channels height width"]:
        """Return the features with the rows dropped."""
        if not self.training:
            return features
        responses = features.detach().float().square().sum(dim=1).amax(dim=2)
        order = responses.argsort(dim=1, descending=True, stable=True)
        rows = order[:, : round(features.shape[2] * self.height_share)]
        kept = torch.ones_like(responses, dtype=features.dtype).scatter_(1, rows, 0)
        return features * kept[:, None, :, None]


def _average(features: Float[Tensor, "b channels height width"]) -> Float[Tensor, "b channels 1 1"]:
    return features.mean((2, 3), keepdim=True)


def _maximum(features: Float[Tensor, "b channels height width"]) -> Float[Tensor, "b channels 1 1"]:
    return features.amax((2, 3), keepdim=True)


def _same(features: Float[Tensor, "b channels 1 1"]) -> Float[Tensor, "b channels 1 1"]:
    return features
