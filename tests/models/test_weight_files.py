"""Files as the published codes write them, made here by their names; each is recognised and loads whole."""

import argparse
import io
import pickle
import zipfile
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from reidlib.models.embedder import Architecture, new_embedder, save_embedder
from reidlib.models.file_kinds import foreign_kind
from reidlib.models.lightmbn import BRANCHES
from reidlib.models.weight_files import read_weights, recognise
from reidlib.models.weights import load_weights

RESNET = Architecture(backbone="resnet18_half", last_stride=1, pooling="gem", gem_power=3.0, batch_norm_group=64)
VIT = replace(RESNET, backbone="timm/vit_tiny_patch16_224", last_stride=2, pooling="token", height_px=128, width_px=64)
TORCHVISION = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}


def backbone_state(architecture, seed=5):
    """Return the state of a backbone whose tensors all differ from those of another seed."""
    state = new_embedder(architecture, seed=seed).backbone.state_dict()
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(value.shape, generator=generator) if value.is_floating_point() else value + 3
        for name, value in state.items()
    }


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def under(prefix, state):
    return {f"{prefix}{name}": value for name, value in state.items()}


def sequential(state):
    """Rename a ResNet's tensors as in an nn.Sequential of its children."""
    return {".".join([TORCHVISION[name.split(".")[0]], *name.split(".")[1:]]): value for name, value in state.items()}


FC = {"fc.weight": torch.zeros(9, 256), "fc.bias": torch.zeros(9)}
NECK = {
    "weight": torch.rand(256) + 1,
    "bias": torch.zeros(256),
    "running_mean": torch.rand(256),
    "running_var": torch.rand(256) + 1,
    "num_batches_tracked": torch.tensor(8),
}
OSNET_HEAD = {
    "fc.0.weight": torch.zeros(8, 128),
    "fc.1.running_mean": torch.zeros(8),
    "classifier.bias": torch.zeros(9),
}
MOCO_HEAD = {
    "encoder_q.fc.0.weight": torch.zeros(9, 9),
    "encoder_k.conv1.weight": torch.zeros(1),
    "queue": torch.ones(2),
}
DINO_HEAD = {"head.mlp.0.weight": torch.zeros(9, 192), "head.last_layer.weight_g": torch.zeros(9, 1)}
CONTRAST = under("feat_bn.", NECK) | {"gap.p": torch.ones(1) * 4, "classifier.weight": torch.zeros(9, 256)}

# Kind: (what is said of it, its backbone here, the file made of that backbone's tensors).
KINDS = {
    "torchvision": ("ResNet of torch", "resnet18_half", lambda state: state | FC),
    "ibn a": ("IBN-a of IBN-Net", "resnet18_half_ibn_a", lambda state: state | FC),
    "ibn b": ("IBN-b of IBN-Net", "resnet18_half_ibn_b", lambda state: {"state_dict": under("module.", state | FC)}),
    "osnet": ("OSNet of torchreid", "osnet_x0_25", lambda state: {"state_dict": under("module.", state | OSNET_HEAD)}),
    "osnet plain": ("OSNet of torchreid", "osnet_x0_25", lambda state: state | OSNET_HEAD),
    "osnet ain": ("OSNet-AIN", "osnet_ain_x0_25", lambda state: {"state_dict": state | OSNET_HEAD, "epoch": 3}),
    "luperson": (
        "query encoder of MoCo",
        "resnet18_half",
        lambda state: {"state_dict": under("module.", under("encoder_q.", state) | MOCO_HEAD), "arch": "resnet50"},
    ),
    "luperson plain": (
        "ResNet of torch",
        "resnet18_half",
        lambda state: state | {"fc1.weight": torch.zeros(9, 9), "embed_fc.bias": torch.zeros(9)},
    ),
    "fast-reid": (
        "the backbone of a larger",
        "resnet18_half",
        lambda state: {"model": under("backbone.", state) | {"heads.weight": torch.zeros(9)}, "iteration": 7},
    ),
    "dino": (
        "vision transformer of upright images, as of TransReID-SSL in the backbone",
        VIT.backbone,
        lambda state: {
            "student": under("module.backbone.", {name: value * 0 for name, value in state.items()}),
            "teacher": under("backbone.", state) | DINO_HEAD,
            "epoch": 100,
        },
    ),
    "dino, converted": ("vision transformer", VIT.backbone, lambda state: state | DINO_HEAD),
    "transreid": ("as of TransReID-SSL in the base", VIT.backbone, lambda state: under("base.", state)),
    "two networks in one state dict": (
        "ResNet of torch",
        "resnet18_half",
        lambda state: (
            under("teacher.", state | FC) | under("student.", {name: value * 0 for name, value in state.items()})
        ),
    ),
    "a running mean beside": (
        "ResNet of torch",
        "resnet18_half",
        lambda state: {"state_dict": {name: value * 0 for name, value in state.items()}, "state_dict_ema": state | FC},
    ),
    "transreid-ssl": (
        "vision transformer with a stem of convolutions in the backbone",
        f"{VIT.backbone}_ics",
        lambda state: {"teacher": under("backbone.", state) | DINO_HEAD, "epoch": 100},
    ),
    "cluster contrast": (
        "ResNet of torchvision or timm in the base of a re-identification",
        "resnet18_half",
        lambda state: {"state_dict": under("module.", under("base.", sequential(state)) | CONTRAST), "epoch": 1},
    ),
    "cluster contrast, ibn": (
        "ResNet-IBN-a of IBN-Net in the base",
        "resnet18_half_ibn_a",
        lambda state: {"state_dict": under("module.base.", sequential(state)) | under("module.feat_bn.", NECK)},
    ),
    "cluster contrast, named": (
        "ResNet of torchvision or timm in the base",
        "resnet18_half",
        lambda state: {"state_dict": under("module.", under("base.", state) | CONTRAST)},
    ),
    "lightning": (
        "ResNet of torch",
        "resnet18_half",
        lambda state: {"state_dict": under("model.", state | FC) | {"criterion.centres": torch.zeros(9)}, "epoch": 3},
    ),
    "compiled": ("OSNet of torch", "osnet_x0_25", lambda state: under("_orig_mod.", state | OSNET_HEAD)),
    "lightning, compiled, fast-reid": (
        "ResNet of torchvision or timm in the backbone of a larger",
        "resnet18_half",
        lambda state: {"state_dict": under("model._orig_mod.", under("backbone.", state) | {"heads.x": torch.ones(1)})},
    ),
    "cluster contrast, lightning": (
        "ResNet of torchvision or timm in the base",
        "resnet18_half",
        lambda state: {"state_dict": under("net.", under("base.", state) | CONTRAST)},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_each_kind_is_recognised_and_loads_whole(tmp_path, capsys, kind):
    said, name, wrap = KINDS[kind]
    architecture = replace(VIT if name.startswith(VIT.backbone) else RESNET, backbone=name)
    if name.startswith("osnet"):
        architecture = replace(architecture, last_stride=2)
    state = backbone_state(architecture)
    torch.save(wrap(state), tmp_path / "a.pth")
    model = new_embedder(architecture, seed=0)
    load_weights(model, weights="a.pth", folder=tmp_path)
    assert same(model.backbone.state_dict(), state)
    (line,) = capsys.readouterr().out.splitlines()
    count = sum(not key.endswith("num_batches_tracked") for key in state)
    assert said in line and f"{count} of {count} tensors" in line and "did not fit" not in line
    with_neck = kind.startswith("cluster contrast")
    assert ("and the neck" in line) is with_neck
    expected = NECK if with_neck else new_embedder(architecture, seed=0).neck.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in model.neck.state_dict().items())


def test_the_exponent_of_gem_is_taken_where_ours_is_trained(tmp_path, capsys):
    torch.save(under("base.", backbone_state(RESNET)) | CONTRAST, tmp_path / "a.pth")
    model = new_embedder(replace(RESNET, pooling="gem_trained"), seed=0)
    load_weights(model, weights="a.pth", folder=tmp_path)
    assert model.pool.power.item() == 4
    assert "heads left out: classifier.weight;" in capsys.readouterr().out.replace("\n", ";")
    load_weights(new_embedder(RESNET, seed=0), weights="a.pth", folder=tmp_path)
    assert "left out: classifier.weight, pool.power" in capsys.readouterr().out


def test_a_neck_with_a_bias_keeps_ours_at_zero(tmp_path, capsys):
    torch.save(
        under("base.", backbone_state(RESNET)) | under("feat_bn.", NECK | {"bias": torch.ones(256)}), tmp_path / "a.pth"
    )
    model = new_embedder(RESNET, seed=0)
    load_weights(model, weights="a.pth", folder=tmp_path)
    assert not model.neck.bias.any() and torch.equal(model.neck.weight, NECK["weight"])
    assert "heads left out: feat_bn.bias" in capsys.readouterr().out


def test_an_embedder_of_this_pipeline_comes_back_with_its_neck(tmp_path):
    model = new_embedder(replace(RESNET, pooling="gem_trained"), seed=3)
    model.train()(torch.randn(8, 3, 64, 32))  # moves the running statistics
    save_embedder(model, tmp_path / "a.safetensors")
    again = new_embedder(model.architecture, seed=0)
    load_weights(again, weights="a.safetensors", folder=tmp_path)
    assert same(model.state_dict(), again.state_dict())


def test_osnet_fills_every_branch_of_lightmbn(tmp_path, capsys):
    osnet = replace(RESNET, backbone="osnet_x0_25", last_stride=2)
    state = backbone_state(osnet)
    torch.save(state | OSNET_HEAD, tmp_path / "a.pth")
    model = new_embedder(replace(osnet, backbone="lightmbn_x0_25", pooling="parts"), seed=0)
    untouched = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    load_weights(model, weights="a.pth", folder=tmp_path)
    for name, value in model.backbone.state_dict().items():
        branch, _, rest = name.partition(".")
        if name.startswith(model.backbone.added_prefixes):
            assert torch.equal(value, untouched[name])
        else:
            assert torch.equal(value, state[rest if branch in BRANCHES else name]), name
    line = capsys.readouterr().out
    assert "(84 more are of modules that were added and keep their initial values)" in line
    assert "heads left out: classifier.bias, fc.0.weight" in line
    save_embedder(model, tmp_path / "ours.safetensors")
    again = new_embedder(model.architecture, seed=1)
    load_weights(again, weights="ours.safetensors", folder=tmp_path)  # the added ones too
    assert same(model.state_dict(), again.state_dict())
    del state["conv4.0.conv1.conv.weight"]
    save_file(state, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match=r"missing halves\.conv4\.0\.conv1\.conv\.weight, stripes.* unknown nothing"):
        load_weights(model, weights="b.safetensors", folder=tmp_path)


def test_a_network_of_other_names_is_said_to_be_one():
    assert recognise({"stem.weight": torch.zeros(1)}).kind == "a network of unknown names"
    file = recognise({"module.backbone.stem.weight": torch.zeros(1), "module.heads.x": torch.zeros(1)})
    assert file.kind.startswith("a network of unknown names in the backbone")
    assert list(file.state) == ["backbone.stem.weight"] and file.heads == ["heads.x"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "expected a state dict.*found list"),
        ({}, "found an empty one"),
        ({"state_dict": {}}, "found an empty one"),
        (
            {"a": 1, 2: torch.zeros(1)},
            "one of teacher, student, .*state_dict, model_state_dict, model, .*; found no tensors: 2, a",
        ),
        ({"args": argparse.Namespace(), "teacher": {"a": torch.zeros(1)}}, r"argparse.Namespace\).*weights_only=False"),
    ],
)
def test_what_holds_no_state_dict_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=message):
        read_weights(tmp_path / "a.pth")


def test_a_checkpoint_that_holds_itself_ends(tmp_path):
    loop: dict = {"a": 1}
    loop["model"] = loop
    torch.save(loop, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="found no tensors"):
        read_weights(tmp_path / "a.pth")


def test_what_was_outside_a_wrapper_is_a_head():
    file = recognise(under("model.", {"conv1.weight": torch.zeros(1)}) | {"criterion.centres": torch.zeros(1)})
    assert list(file.state) == ["backbone.conv1.weight"] and file.heads == ["criterion.centres"]


def zip_of(names):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return written.getvalue()


FOREIGN = {
    b"": "an empty file",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0": "a pointer of Git LFS",
    b"\n<!DOCTYPE html><html>": "a web page",
    b"<html><body>Sign in": "a web page",
    "Zugriff verweigert: größer".encode()[:-3]: "text that begins 'Zugriff verweigert",
    b'{"error": "Not found"}': "text that begins '{\"error",
    b"\x08\x08\x12\x07pytorch\x1a\x051.9\0": "an ONNX model",
    b"\x08\x07:\xff\xff\x01": "an ONNX model",
    b"\x89HDF\r\n\x1a\n\0\0": "an HDF5 file",
    b"\x1c\0\0\0TFL3\0\0": "a model of TensorFlow Lite",
    b"\x93NUMPY\x01\0v\0": "a numpy array",
    b"\x1f\x8b\x08\0": "a gzip archive",
    b"a.pth" + bytes(252) + b"ustar\0" + bytes(9): "a tar archive",
    b"PK\x03\x04" + bytes(40): "the beginning of a zip archive",
    pickle.dumps({"a": 1}, 2): "a pickle of another program",
    pickle.dumps({"a": 1}, 5): "a pickle of another program",
    zip_of(["readme.txt", "weights.pth", "c", "d"]): "a zip archive of c, d, readme.txt and 1 more: unpack it",
    zip_of(["net/data.pkl", "net/constants.pkl", "net/code/a.py"]): "a program in TorchScript.*torch.jit.load",
}


@pytest.mark.parametrize("content", FOREIGN, ids=range(len(FOREIGN)))
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_what_a_file_is_instead_is_said(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"expected safetensors or a plain state dict.*, found {FOREIGN[content]}"):
        read_weights(tmp_path / name)


def test_files_are_known_by_their_content(tmp_path):
    state = {"conv1.weight": torch.rand(3)}
    save_file(state, tmp_path / "safetensors.bin")
    torch.save(state, tmp_path / "torch.safetensors")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("safetensors.bin", "torch.safetensors", "old.pth"):
        assert foreign_kind(tmp_path / name) is None
        assert same(read_weights(tmp_path / name).state, under("backbone.", state))
    cut = (tmp_path / "safetensors.bin").read_bytes()[:-1]
    (tmp_path / "cut.safetensors").write_bytes(cut)
    with pytest.raises(ValueError, match="cannot be read as such: SafetensorError"):
        read_weights(tmp_path / "cut.safetensors")
