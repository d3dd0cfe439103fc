import pytest
import torch

from reidlib.models.backbones import BACKBONES, backbone


@pytest.mark.parametrize("name", sorted(BACKBONES))
@pytest.mark.parametrize("last_stride", [1, 2])
def test_the_feature_map_has_the_stride_asked_for(name, last_stride):
    network = backbone(name, last_stride=last_stride).eval()
    with torch.inference_mode():
        features = network(torch.zeros(1, 3, 64, 32))
    down = 16 * last_stride
    assert features.shape == (1, network.num_features, 64 // down, 32 // down)


def test_the_weights_do_not_depend_on_the_stride():
    first, second = (backbone("resnet18", last_stride=stride).state_dict() for stride in (1, 2))
    assert {name: value.shape for name, value in first.items()} == {name: value.shape for name, value in second.items()}


def test_parameter_counts():
    def count(name):
        return sum(parameter.numel() for parameter in backbone(name, last_stride=1).parameters())

    assert count("resnet50") == 23_508_032  # 25.6 M with the classifier of 2.05 M [He et al., CVPR 2016]
    assert count("resnet50_ibn_a") == count("resnet50")  # instance norm and batch norm have as many as batch norm alone
    assert count("resnet18_half") < 3e6


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"resnet18_half.*found 'resnet5'"):
        backbone("resnet5", last_stride=1)
    with pytest.raises(ValueError, match="last_stride: expected 1 or 2, found 3"):
        backbone("resnet18", last_stride=3)
