"""GAM: a ResNet of grouped convolutions with group attention, small enough to be trained from random weights."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn


class GroupAttention(nn.Module):
    """Attention by channels and positions on a grouped map of the trunk's features.

    [Nikhal & Riggan, WACV 2021, arXiv:2011.01888]. A grouped 3 × 3 convolution makes a map F; a gate scales F's
    channels by their means (squeeze and excitation); a 7 × 7 convolution of the mean over F's channels, through a
    sigmoid, tells where to look, and is added to the trunk, as the figure of the published repository draws it.
    """

    def __init__(self, channels: int, *, groups: int, reduction: int = 32) -> None:
        """Convolve in `groups`; the gate squeezes to channels / reduction numbers."""
        from timm.layers import SEModule

        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.ReLU(inplace=True)
        self.channels = SEModule(channels, rd_ratio=1 / reduction)
        self.positions = nn.Conv2d(1, 1, 7, padding=3)

    def forward(self, trunk: Float[Tensor, "b channels height width"]) -> Float[Tensor, "b channels height width"]:
        """Return the trunk's features with what was attended to added."""
        grouped = self.channels(self.act(self.norm(self.conv(trunk))))
        return trunk + self.positions(grouped.mean(dim=1, keepdim=True)).sigmoid()


def gam(*, half: bool = False, drop_path: float = 0.0) -> Any:
    """Build the network of GAM: a ResNet whose blocks convolve in groups, `GroupAttention` behind stages 2 and 3.

    The paper leaves the numbers of groups open; ours are chosen for its 59.6 % fewer trainable parameters than
    ResNet-50's 23,508,032 (both without a classifier): 59.3 %. All three convolutions of every block in 4 groups give
    20,676,608 / 4 = 5,169,152; stem, downsampling and batch norms, as in ResNet-50, 9,408 + 2,768,896 + 53,120; the
    attention, in 8 groups, 1,561,236. In sum 9,561,812. Its two scales are strides 8 and 16.

    Args:
        half: one basic block a stage, of half the width, in groups of the same size; for a CPU.
        drop_path: probability of leaving out a residual branch in training, as in `backbone`.
    """
    from timm.models.resnet import BasicBlock, Bottleneck, ResNet

    block, depths = (BasicBlock, (1, 1, 1, 1)) if half else (Bottleneck, (3, 4, 6, 3))
    groups = 2 if half else 4
    widths = tuple(width // 2 if half else width for width in (64, 128, 256, 512))
    network = ResNet(block, depths, channels=widths, num_classes=0, global_pool="", drop_path_rate=drop_path)
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        for part in network.get_submodule(stage):
            for name in ("conv1", "conv2", "conv3"):
                if hasattr(part, name):
                    setattr(part, name, _in_groups(getattr(part, name), groups))
    for stage, width in (("layer2", widths[1]), ("layer3", widths[2])):
        network.get_submodule(stage).append(GroupAttention(width * block.expansion, groups=2 * groups))
    network.init_weights()
    return network


def _in_groups(convolution: Any, groups: int) -> nn.Conv2d:
    """Return a convolution of the same shape in groups, with other random weights."""
    inside, outside, kernel = convolution.in_channels, convolution.out_channels, convolution.kernel_size
    return nn.Conv2d(inside, outside, kernel, convolution.stride, convolution.padding, groups=groups, bias=False)
