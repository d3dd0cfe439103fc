"""The networks to start from: one, or another of its own for the stage across cameras."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from reidlib.models.embedder import new_embedder
from reidlib.models.start import start_networks
from tests.crops import SMALL


def same(first, second):
    states = [network.state_dict() for network in (first, second)]
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[1]
    )


def test_there_is_one_network_unless_another_is_wanted(tmp_path):
    networks = start_networks(SMALL, seed=3, folder=tmp_path, weights="random")
    assert list(networks) == [""] and same(networks[""], new_embedder(SMALL, seed=3))


def test_the_other_has_its_own_backbone_and_weights(tmp_path):
    shape = replace(SMALL, backbone="resnet18_ibn_a")
    file = new_embedder(shape, seed=7)
    save_file(file.backbone.state_dict(), tmp_path / "ibn.safetensors")
    across = {"backbone": "resnet18_ibn_a", "weights": "ibn.safetensors"}
    networks = start_networks(SMALL, seed=3, folder=tmp_path, weights="random", across=across)
    assert same(networks[""], new_embedder(SMALL, seed=3))
    assert networks["across"].architecture == shape and same(networks["across"].backbone, file.backbone)


def test_a_file_that_is_not_there_is_told_with_the_way_without_it(tmp_path):
    across = {"backbone": "resnet18_ibn_a", "weights": "resnet18_ibn_a.pth"}
    with pytest.raises(ValueError, match=r"extract\.across .*resnet18_ibn_a.*name of a file.*extract\.across=null"):
        start_networks(SMALL, seed=3, folder=tmp_path, weights="random", across=across)


def test_settings_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"extract\.across\.weight"):
        start_networks(SMALL, seed=3, folder=tmp_path, weights="random", across={"backbone": "resnet18", "weight": "x"})
