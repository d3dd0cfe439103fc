"""IBN-a and IBN-b: some of a network's features normalised per image, which removes style, others over the batch."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

CONVOLUTIONS = {"BasicBlock": 2, "Bottleneck": 3}  # of timm's blocks; `bn` and `act` of this number are the last


class InstanceBatchNorm(nn.Module):
    """Instance norm of the first half of the channels, batch norm of the others.

    [Pan et al., ECCV 2018, arXiv:1807.09441]. Its two parts bear the names `IN` and `BN` of the published state dicts.
    """

    def __init__(self, channels: int) -> None:
        """Split `channels` into floor(channels / 2) for the instance norm and the rest."""
        super().__init__()
        self.split = channels // 2
        self.IN = nn.InstanceNorm2d(self.split, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.split)

    def forward(self, features: Float[Tensor, "b channels height width"]) -> Float[Tensor, "b channels height width"]:
        """Normalise each half in its way."""
        return torch.cat([self.IN(features[:, : self.split]), self.BN(features[:, self.split :])], dim=1)


def ibn_a(resnet: nn.Module) -> nn.Module:
    """Turn a ResNet of timm into its IBN-a form, in place, and return it.

    The first normalisation of every block of stages 1 to 3 becomes an `InstanceBatchNorm`; the last stage, which tells
    identities apart, stays as it is. Names and shapes of the parameters are those of the published weights
    (resnet18/34/50/101_ibn_a of IBN-Net), whose files load without renaming.

    Raises:
        ValueError: a network without the stages layer1..layer3 of blocks with `bn1`.
    """
    for name in ("layer1", "layer2", "layer3"):
        stage = getattr(resnet, name, None)
        if stage is None or not all(isinstance(getattr(block, "bn1", None), nn.BatchNorm2d) for block in stage):
            raise ValueError(f"ibn_a: expected a ResNet of timm with batch norm `bn1` in the blocks of {name}")
        for block in stage:
            block.bn1 = InstanceBatchNorm(block.bn1.num_features)
    return resnet


def ibn_b(resnet: nn.Module) -> nn.Module:
    """Turn a ResNet of timm into its IBN-b form, in place, and return it.

    [Pan et al., ECCV 2018, arXiv:1807.09441]. The norm of the stem becomes an instance norm, and the last block of
    layer1 and of layer2 gets one, `IN`, between the sum with its shortcut and the activation. Names and shapes are
    those of the published weights (resnet18/34/50/101_ibn_b of IBN-Net), whose files load without renaming.

    Raises:
        ValueError: a network without a norm `bn1`, or without blocks of a ResNet of timm in layer1 and layer2.
    """
    stem, stages = getattr(resnet, "bn1", None), [getattr(resnet, name, None) for name in ("layer1", "layer2")]
    blocks: list[Any] = [stage[-1] for stage in stages if isinstance(stage, nn.Sequential)]
    kinds = [type(block).__name__ for block in blocks]
    if not isinstance(stem, nn.BatchNorm2d) or len(kinds) < 2 or not set(kinds) <= CONVOLUTIONS.keys():
        raise ValueError(
            "ibn_b: expected a ResNet of timm with batch norm `bn1` and, last in layer1 and layer2, a "
            f"{' or '.join(CONVOLUTIONS)}; found {type(resnet).__name__} with {', '.join(kinds) or 'no such stages'}"
        )
    resnet.bn1 = nn.InstanceNorm2d(stem.num_features, affine=True)
    for block, kind in zip(blocks, kinds, strict=True):
        block.IN = nn.InstanceNorm2d(getattr(block, f"bn{CONVOLUTIONS[kind]}").num_features, affine=True)
        block.act_after = getattr(block, f"act{CONVOLUTIONS[kind]}")
        setattr(block, f"act{CONVOLUTIONS[kind]}", nn.Identity())
        block.register_forward_hook(_normalise_sum)
    return resnet


def _normalise_sum(block: Any, _inputs: object, summed: Tensor) -> Tensor:
    """Go on from the sum with the shortcut; a function of the module, so that a copy of the network uses its own."""
    return block.act_after(block.IN(summed))
