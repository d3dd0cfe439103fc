"""IBN-a: half of a layer's channels normalised per image, which removes style, half over the batch."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


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
