"""The convolution stem: its published names, what it computes, and how it goes with overlapping patches."""

import pytest
import torch
from torch.nn import functional

from reidlib.models.backbones import backbone
from reidlib.models.grouped_norm import GroupedBatchNorm, group_norms

NAME = "timm/vit_tiny_patch16_224"
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def test_the_stem_has_the_published_names_and_shapes():
    network, _ = backbone(f"{NAME}_ics", size_px=(64, 32))
    found = {name: tuple(tensor.shape) for name, tensor in network.patch_embed.state_dict().items()}
    shapes = dict.fromkeys(NORM, (32,)) | {"num_batches_tracked": ()}
    ibn = {f"BN.{name}": shape for name, shape in shapes.items()} | {"IN.weight": (32,), "IN.bias": (32,)}
    bn = dict.fromkeys(NORM, (64,)) | {"num_batches_tracked": ()}
    expected = {"conv.0.weight": (64, 3, 7, 7), "conv.3.weight": (64, 64, 3, 3), "conv.6.weight": (64, 64, 3, 3)}
    expected |= {f"conv.{place}.{name}": shape for place in (1, 4) for name, shape in ibn.items()}
    expected |= {f"conv.7.{name}": shape for name, shape in bn.items()}
    assert found == expected | {"proj.weight": (192, 64, 8, 8), "proj.bias": (192,)}
    plain, _ = backbone(NAME, size_px=(64, 32))
    other = {name for name in plain.state_dict() if not name.startswith("patch_embed")}
    assert other == {name for name in network.state_dict() if not name.startswith("patch_embed")}


@pytest.mark.parametrize(("stride", "grid"), [(None, (4, 2)), (12, (5, 2)), (8, (7, 3))])
def test_each_patch_is_a_product_over_the_maps_of_the_convolutions(stride, grid):
    network, width = backbone(f"{NAME}_ics", size_px=(64, 32), patch_stride=stride)
    images, stem = torch.randn(2, 3, 64, 32), network.eval().patch_embed
    with torch.inference_mode():
        maps = images
        for convolution, norm, step in ((0, 1, 2), (3, 4, 1), (6, 7, 1)):
            weight = stem.conv[convolution].weight
            maps = functional.conv2d(maps, weight, stride=step, padding=weight.shape[-1] // 2)
            maps = stem.conv[norm](maps).clamp(min=0)
        assert maps.shape == (2, 64, 32, 16)
        found, step = stem(images), (stride or 16) // 2
        for row in range(grid[0]):
            for column in range(grid[1]):
                patch = maps[:, :, row * step : row * step + 8, column * step : column * step + 8]
                expected = patch.flatten(1) @ stem.proj.weight.flatten(1).T + stem.proj.bias
                torch.testing.assert_close(found[:, row * grid[1] + column], expected, atol=1e-4, rtol=1e-4)
        assert found.shape == (2, grid[0] * grid[1], width) and network.pos_embed.shape[1] == 1 + found.shape[1]
        assert network(images).shape == (2, 1 + found.shape[1], width)


def test_networks_that_take_any_size_and_keep_the_grid_have_it_too():
    network, width = backbone("timm/test_vit_ics", size_px=(64, 32), patch_stride=8)
    with torch.inference_mode():
        assert network.eval()(torch.randn(2, 3, 64, 32)).shape == (2, 1 + 21, width)


def test_its_batch_norms_are_grouped_as_all_others():
    network, _ = backbone("timm/test_vit_ics", size_px=(64, 32))
    group_norms(network, group=4)
    norms = [module for module in network.patch_embed.modules() if isinstance(module, GroupedBatchNorm)]
    assert len(norms) == 3 and all(module.group == 4 for module in norms)
