import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from reidlib.models.embedder import Architecture, load_embedder, new_embedder, save_embedder
from reidlib.models.weights import load_weights

SMALL = Architecture(backbone="resnet18_half", last_stride=1, pooling="gem", gem_power=3.0, batch_norm_group=64)
VIT = replace(SMALL, backbone="timm/vit_tiny_patch16_224", last_stride=2, pooling="token", height_px=128, width_px=64)
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "interpolation": "bicubic"}


@pytest.fixture
def state():
    return new_embedder(SMALL, seed=5).backbone.state_dict()


def load(folder, name):
    model = new_embedder(SMALL, seed=0)
    load_weights(model, weights=name, folder=folder)
    return model.backbone.state_dict()


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in second)


def test_safetensors_and_state_dicts_and_their_wrappers_load(tmp_path, state):
    save_file(state, tmp_path / "plain.safetensors")
    torch.save(state, tmp_path / "plain.pth")
    classifier = {"fc.weight": torch.zeros(10, 256), "fc.bias": torch.zeros(10)}
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in (state | classifier).items()}}, tmp_path / "a.pth"
    )
    wrapped = {f"module.base.{name}": value for name, value in state.items()} | {
        "module.classifier.weight": torch.zeros(1)
    }
    torch.save({"model": wrapped}, tmp_path / "b.pth")
    ours = {f"backbone.{name}": value for name, value in state.items()} | {"neck.weight": torch.zeros(256)}
    save_file(ours, tmp_path / "c.safetensors")
    for name in ("plain.safetensors", "plain.pth", "a.pth", "b.pth", "c.safetensors"):
        assert same(load(tmp_path, name), state), name


def test_the_positions_of_square_images_are_resampled_and_what_is_no_classifier_is_kept(tmp_path):
    import timm

    vit = timm.create_model("vit_tiny_patch16_224", num_classes=7)
    with torch.no_grad():  # rising from row to row and from column to column
        y, x = torch.meshgrid(torch.arange(14.0), torch.arange(14.0), indexing="ij")
        vit.pos_embed[0, 1:, 0], vit.pos_embed[0, 1:, 1] = y.flatten(), x.flatten()
    save_file(vit.state_dict(), tmp_path / "vit.safetensors")
    model = new_embedder(replace(VIT, patch_stride=12), seed=0)
    load_weights(model, weights="vit.safetensors", folder=tmp_path)
    found, expected = model.backbone.state_dict(), vit.state_dict()
    rows, columns = found["pos_embed"][0, 1:, :2].view(10, 5, 2).unbind(2)
    assert (rows.diff(dim=0) > 0).all() and (columns.diff(dim=1) > 0).all()
    assert torch.equal(found["pos_embed"][:, 0], expected["pos_embed"][:, 0])
    assert same(expected, {name: value for name, value in found.items() if name != "pos_embed"})
    assert model.architecture.preprocessing == VIT.preprocessing  # of a file of that name nothing is known
    save_file(model.backbone.state_dict(), tmp_path / "ours.safetensors")
    load_weights(again := new_embedder(model.architecture, seed=1), weights="ours.safetensors", folder=tmp_path)
    assert same(again.backbone.state_dict(), found)

    convnext = timm.create_model("convnext_atto", num_classes=7)  # its `head.norm` belongs to the backbone
    save_file(convnext.state_dict(), tmp_path / "convnext.safetensors")
    model = new_embedder(replace(SMALL, backbone="timm/convnext_atto", last_stride=2, pooling="average"), seed=0)
    load_weights(model, weights="convnext.safetensors", folder=tmp_path)
    assert same(convnext.state_dict(), model.backbone.state_dict())


def test_the_hub_is_asked_for_a_network_of_our_patches(tmp_path, monkeypatch):
    import timm

    model = new_embedder(replace(VIT, patch_stride=12), seed=0)
    create, fetched = timm.create_model, []

    def hub(name, *, pretrained, **options):
        fetched.append(create(name, **options))
        return fetched[0] if pretrained else None

    monkeypatch.setattr(timm, "create_model", hub)
    load_weights(model, weights="imagenet", folder=tmp_path)
    assert same(model.backbone.state_dict(), fetched[0].state_dict())
    assert fetched[0].pos_embed.shape[1] == 1 + 10 * 5  # side by side on 160 x 80 px, overlapping on 128 x 64
    assert model.architecture == replace(VIT, patch_stride=12, **HALF)  # what timm says of these weights


def test_random_loads_nothing(tmp_path):
    assert same(load(tmp_path, "random"), new_embedder(SMALL, seed=0).backbone.state_dict())


def test_weights_that_do_not_fit_are_named_and_the_others_loaded_where_that_is_asked_for(tmp_path, state, capsys):
    bad = dict(state)
    del bad["conv1.weight"]
    bad["layer1.0.conv1.weight"] = torch.zeros(1, 1, 3, 3)
    bad["extra.weight"] = torch.zeros(1)
    save_file(bad, tmp_path / "bad.safetensors")
    with pytest.raises(ValueError) as caught:
        load(tmp_path, "bad.safetensors")
    words = ("missing conv1.weight", "another shape layer1.0.conv1.weight", "unknown extra.weight")
    for misfit in (*words, "extract.strict=false"):
        assert misfit in str(caught.value)
    model = new_embedder(SMALL, seed=0)
    load_weights(model, weights="bad.safetensors", folder=tmp_path, strict=False)
    found, drawn = model.backbone.state_dict(), new_embedder(SMALL, seed=0).backbone.state_dict()
    for name, value in found.items():
        assert torch.equal(value, (drawn if name in ("conv1.weight", "layer1.0.conv1.weight") else state)[name])
    line = capsys.readouterr().out
    for misfit in words:
        assert misfit in line
    count = sum(not name.endswith("num_batches_tracked") for name in state)
    assert f"{count - 2} of {count} tensors of the backbone" in line
    save_file({"extra.weight": torch.zeros(1)}, tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="nothing in it fits"):
        load_weights(model, weights="none.safetensors", folder=tmp_path, strict=False)


def test_modules_added_to_the_backbone_are_never_missing(tmp_path, state, capsys):
    save_file(state, tmp_path / "a.safetensors")
    model = new_embedder(SMALL, seed=0)
    model.backbone.layer3.append(torch.nn.BatchNorm2d(128))
    with pytest.raises(ValueError, match=r"missing layer3\.2\.bias"):
        load_weights(model, weights="a.safetensors", folder=tmp_path)
    model.backbone.added_prefixes = ("layer3.2.",)
    load_weights(model, weights="a.safetensors", folder=tmp_path)
    assert same(model.backbone.state_dict(), state) and "did not fit" not in capsys.readouterr().out
    torch.nn.init.constant_(model.backbone.layer3[2].weight, 7)
    save_file(model.backbone.state_dict(), tmp_path / "b.safetensors")
    again = new_embedder(SMALL, seed=1)
    again.backbone.layer3.append(torch.nn.BatchNorm2d(128))
    again.backbone.added_prefixes = ("layer3.2.",)
    load_weights(again, weights="b.safetensors", folder=tmp_path)
    assert (again.backbone.layer3[2].weight == 7).all()


def test_the_mix_of_adaptive_norms_is_never_missing(tmp_path, state, capsys):
    save_file(state, tmp_path / "a.safetensors")
    model = new_embedder(replace(SMALL, normalisation="aibn"), seed=0)
    load_weights(model, weights="a.safetensors", folder=tmp_path)
    assert same(model.backbone.state_dict(), state) and "of modules that were added" in capsys.readouterr().out


@pytest.mark.parametrize("grid", [(14, 14), (16, 8), (24, 12)])
def test_positions_of_square_images_and_of_upright_ones_are_resampled(tmp_path, grid):
    model = new_embedder(replace(VIT, height_px=160, width_px=80), seed=0)
    state = dict(model.backbone.state_dict())
    y, x = torch.meshgrid(torch.linspace(0, 1, grid[0]), torch.linspace(0, 1, grid[1]), indexing="ij")
    state["pos_embed"] = torch.zeros(1, 1 + grid[0] * grid[1], 192)
    state["pos_embed"][0, 1:, 0], state["pos_embed"][0, 1:, 1] = y.flatten(), x.flatten()
    save_file(state, tmp_path / "a.safetensors")
    load_weights(model, weights="a.safetensors", folder=tmp_path)
    rows, columns = model.backbone.pos_embed[0, 1:, :2].view(10, 5, 2).unbind(2)
    assert (rows.diff(dim=0) > 0).all() and (columns.diff(dim=1) > 0).all()
    assert rows.std(dim=1).max() < 0.01 and columns.std(dim=0).max() < 0.01


def test_a_missing_file_is_answered_with_what_is_there(tmp_path, state):
    save_file(state, tmp_path / "there.safetensors")
    with pytest.raises(ValueError, match=r"found there: there\.safetensors"):
        load(tmp_path, "absent.safetensors")
    with pytest.raises(ValueError, match="the name of a file"):
        load(tmp_path / "sub", "../there.safetensors")


def test_a_pickle_never_runs(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Payload(), protocol=2))
    torch.save(Payload(), tmp_path / "evil2.pth")
    (tmp_path / "text.pth").write_bytes(b"hello")
    (tmp_path / "text.safetensors").write_bytes(b"hello")
    for name in ("evil.pth", "evil2.pth", "text.pth", "text.safetensors"):
        with pytest.raises(ValueError, match="nothing else is ever unpickled"):
            load(tmp_path, name)
    assert not (tmp_path / "ran").exists()
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="expected a state dict"):
        load(tmp_path, "list.pth")


def test_an_unreachable_hub_says_which_file_to_put_where(tmp_path, monkeypatch):
    import timm

    def unreachable(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(timm, "create_model", unreachable)
    model = new_embedder(SMALL, seed=0)
    with pytest.raises(ValueError, match="no such weights for resnet18_half"):
        load_weights(model, weights="imagenet", folder=tmp_path)
    model.architecture = replace(SMALL, backbone="resnet18")
    with pytest.raises(ValueError) as caught:
        load_weights(model, weights="imagenet", folder=tmp_path)
    for words in ("ConnectionError", "timm/resnet18.tv_in1k", str(tmp_path / "resnet18.safetensors")):
        assert words in str(caught.value)
    model.architecture = replace(SMALL, backbone="timm/resnext26ts")
    with pytest.raises(ValueError, match=r"timm/resnext26ts elsewhere.*resnext26ts\.safetensors"):
        load_weights(model, weights="imagenet", folder=tmp_path)
    model.architecture = replace(SMALL, backbone="resnet50_ibn_a")
    with pytest.raises(ValueError, match="no such weights for resnet50_ibn_a"):
        load_weights(model, weights="imagenet", folder=tmp_path)


def test_what_weights_expect_of_images_comes_from_the_file_of_a_model_and_travels_on(tmp_path, capsys):
    first = new_embedder(replace(SMALL, mean=(0.1, 0.2, 0.3), interpolation="nearest"), seed=5)
    save_embedder(first, tmp_path / "first.safetensors")
    second = new_embedder(replace(SMALL, cameras=4), seed=0)
    load_weights(second, weights="first.safetensors", folder=tmp_path)
    assert second.architecture == replace(first.architecture, cameras=4)
    assert "mean (0.1, 0.2, 0.3)" in capsys.readouterr().out
    save_embedder(second, tmp_path / "second.safetensors")
    assert load_embedder(tmp_path / "second.safetensors").architecture == second.architecture
    save_file(first.state_dict(), tmp_path / "other.safetensors", metadata={"architecture": "resnet18"})
    load_weights(other := new_embedder(SMALL, seed=0), weights="other.safetensors", folder=tmp_path)
    assert other.architecture == SMALL and same(other.state_dict(), first.state_dict())


def test_a_file_with_the_name_that_the_hubs_message_gives_is_timms(tmp_path):
    model = new_embedder(VIT, seed=5)
    save_file(model.backbone.state_dict(), tmp_path / "vit_tiny_patch16_224.safetensors")
    load_weights(again := new_embedder(VIT, seed=0), weights="vit_tiny_patch16_224.safetensors", folder=tmp_path)
    assert again.architecture == replace(VIT, **HALF)
