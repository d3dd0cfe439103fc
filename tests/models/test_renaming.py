"""Files with the names of other codes: made here by these names, and what they compute by the code they come from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from reidlib.models.backbones import backbone, timm_name
from reidlib.models.embedder import Architecture, new_embedder
from reidlib.models.renaming import converted, norm_eps
from reidlib.models.weight_files import recognise
from reidlib.models.weights import load_weights

PLAIN = Architecture(backbone="", last_stride=2, pooling="average", gem_power=3.0, batch_norm_group=64)
VIT = replace(PLAIN, backbone="timm/vit_tiny_patch16_224", pooling="token", height_px=128, width_px=64)
SWIN = replace(PLAIN, backbone="timm/swin_tiny_patch4_window7_224", height_px=224, width_px=224)
CLIP = replace(
    PLAIN, backbone="timm/vit_xsmall_patch16_clip_224_projected", pooling="token", height_px=64,
    width_px=32,
)  # fmt: skip


def randomised(network, seed=0):
    """Every tensor another, and variances small, where what is added to them matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                low, high = (0.01, 0.1) if name.endswith("running_var") else (-0.05, 0.05)
                value.uniform_(low, high, generator=generator)
    return network.eval()


def loaded(tmp_path, content, architecture):
    torch.save(content, tmp_path / "a.pth")
    model = new_embedder(architecture, seed=1).eval()
    load_weights(model, weights="a.pth", folder=tmp_path)
    return model


@pytest.mark.parametrize(
    ("theirs", "name", "kind"),
    [
        ("mobilenet_v3_small", "mobilenetv3_small_100", "MobileNetV3 of torchvision"),
        ("efficientnet_v2_s", "efficientnetv2_s", "EfficientNet of torchvision"),
        ("convnext_tiny", "convnext_tiny", "ConvNeXt of torchvision"),
    ],
)
def test_networks_of_torchvision_compute_the_same_in_timms_form(tmp_path, capsys, theirs, name, kind):
    from torchvision import models

    network = randomised(models.get_model(theirs))
    model = loaded(tmp_path, {"model": network.state_dict()}, replace(PLAIN, backbone=f"timm/{name}"))
    line = capsys.readouterr().out
    assert kind in line and "did not fit" not in line
    images = torch.randn(2, 3, 32, 32)  # of one position at the end, where pooling and what follows may change places
    with torch.no_grad():
        expected = network.features(images)
        assert expected.shape[2:] == (1, 1)
        if theirs.startswith("mobilenet"):
            expected = network.classifier[:2](expected.flatten(1))[:, :, None, None]
        if theirs.startswith("convnext"):
            expected = network.classifier[0](expected)
        found = model.backbone(images)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_what_is_added_to_variances_is_told_by_the_network():
    def state(first, last):
        return {
            "features.1.0.block.0.0.weight": torch.zeros(first),
            "features.8.0.weight": torch.zeros(last, 1, 1, 1),
            "features.8.1.bias": torch.zeros(last),
        }

    assert norm_eps("EfficientNet of torchvision", state((32, 1, 3, 3), 1280)) is None  # b0
    assert norm_eps("EfficientNet of torchvision", state((48, 1, 3, 3), 2048)) == 0.001  # b5
    assert norm_eps("EfficientNet of torchvision", state((24, 24, 3, 3), 1280)) == 0.001  # version 2
    assert norm_eps("ResNet of torchvision or timm", {}) is None


def authors_swin(state):
    """The names of the authors' code: patches merge at the end of a stage; with its buffers."""
    named = {}
    for name, value in state.items():
        first, number, *rest = name.split(".")
        shifts = first == "layers" and rest[0] == "downsample"
        named[".".join([first, str(int(number) - 1), *rest]) if shifts else name] = value
    return named | {
        "layers.0.blocks.0.attn.relative_position_index": torch.zeros(49, 49, dtype=torch.int64),
        "layers.0.blocks.1.attn_mask": torch.zeros(64, 49, 49),
        "head.weight": torch.zeros(5, 768),
    }


def soliders_swin(state):
    """SOLIDER's names, and the order in which it merges patches, number by number."""
    named = {"semantic_embed_w.0.weight": torch.zeros(192, 2), "norm0.weight": torch.zeros(96)}
    for name, value in authors_swin(state).items():
        if "relative_position_index" in name or "attn_mask" in name or name.startswith("head"):
            continue
        if ".downsample." in name:
            count = value.shape[-1] // 4
            moved = torch.empty_like(value)
            for channel, row, column in np.ndindex(count, 2, 2):
                moved[..., 4 * channel + 2 * row + column] = value[..., (2 * column + row) * count + channel]
            value = moved
        for old, new in (
            ("layers.", "stages."), (".attn.", ".attn.w_msa."), (".mlp.fc1.", ".ffn.layers.0.0."),
            (".mlp.fc2.", ".ffn.layers.1."), ("patch_embed.proj.", "patch_embed.projection."),
        ):  # fmt: skip
            name = name.replace(old, new)
        named[f"norm3.{name[5:]}" if name.startswith("norm.") else name] = value
    return {"teacher": {f"backbone.{name}": value for name, value in named.items()}}


@pytest.mark.parametrize(
    ("rename", "kind", "mean"),
    [
        (lambda state: {"model": authors_swin(state)}, "Swin transformer of its authors", 0.485),
        (soliders_swin, "Swin transformer of SOLIDER", 0.5),
    ],
)
def test_a_swin_transformer_of_the_authors_and_of_solider(tmp_path, capsys, rename, kind, mean):
    state = randomised(new_embedder(SWIN, seed=0)).backbone.state_dict()
    model = loaded(tmp_path, rename(state), SWIN)
    assert all(torch.equal(value, state[name]) for name, value in model.backbone.state_dict().items())
    assert kind in capsys.readouterr().out and model.architecture.mean[0] == mean
    table = state["layers.3.blocks.0.attn.relative_position_bias_table"]
    table[:] = torch.arange(len(table))[:, None] // 13  # rises from row to row of a window
    upright = loaded(tmp_path, rename(state), replace(SWIN, height_px=128, width_px=64)).backbone  # smaller windows
    assert torch.equal(upright.norm.weight, state["norm.weight"])
    attention = upright.layers[3].blocks[0].attn
    assert attention.window_size == (4, 2)
    rows = attention.relative_position_bias_table.view(7, 3, -1)
    assert (rows.diff(dim=0) > 0).all() and rows.std(dim=1).max() < 1e-3


def test_soliders_patches_merge_as_its_unfolding_does(tmp_path):
    state = randomised(new_embedder(SWIN, seed=0)).backbone.state_dict()
    theirs, model = soliders_swin(state)["teacher"], loaded(tmp_path, soliders_swin(state), SWIN)
    images = torch.randn(2, 8, 6, 96)
    merged = nn.functional.unfold(images.permute(0, 3, 1, 2), 2, stride=2).transpose(1, 2)
    names = [f"backbone.stages.0.downsample.{name}" for name in ("norm.weight", "norm.bias", "reduction.weight")]
    scale, shift, reduction = (theirs[name] for name in names)
    expected = nn.functional.layer_norm(merged, (384,), scale, shift) @ reduction.T
    with torch.no_grad():
        found = model.backbone.layers[1].downsample(images)
    torch.testing.assert_close(found.flatten(1, 2), expected)


def test_a_convnext_of_the_authors(tmp_path):
    architecture = replace(PLAIN, backbone="timm/convnext_atto")
    state = randomised(new_embedder(architecture, seed=0)).backbone.state_dict()
    named = {}
    for name, value in state.items():
        new = name.replace("stem.", "downsample_layers.0.").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        new = new.replace("blocks.", "").replace("head.norm", "norm")
        if ".downsample." in new:
            _, stage, _, rest = new.split(".", 3)
            new = f"downsample_layers.{stage}.{rest}"
        named[new] = value.flatten(1) if new.endswith(("pwconv1.weight", "pwconv2.weight")) else value
    model = loaded(
        tmp_path, {"teacher": {f"module.backbone.{name}": value for name, value in named.items()}}, architecture
    )
    assert all(torch.equal(value, state[name]) for name, value in model.backbone.state_dict().items())


def test_pass_without_its_part_tokens_is_a_plain_transformer(tmp_path, capsys):
    state = randomised(new_embedder(VIT, seed=0)).backbone.state_dict()
    positions = state["pos_embed"]
    content = {name: value for name, value in state.items() if name != "pos_embed"} | {
        "cls_pos": positions[:, :1], "pos_embed": positions[:, 1:],
        **{f"part_token{part}": torch.ones(1, 1, 192) for part in (1, 2, 3)},
        **{f"part{part}_pos": torch.ones(1, 1, 192) for part in (1, 2, 3)},
    }  # fmt: skip
    model = loaded(tmp_path, {"teacher": {f"backbone.{name}": value for name, value in content.items()}}, VIT)
    assert all(torch.equal(value, state[name]) for name, value in model.backbone.state_dict().items())
    line = capsys.readouterr().out
    assert "of PASS" in line and "part1_pos" in line and model.architecture.std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(("patches", "mean"), [((16, 8), 0.5), ((14, 14), 0.485)])
def test_transformers_of_upright_images_are_transreid_ssls(patches, mean):
    state = {"blocks.0.attn.qkv.weight": torch.zeros(9, 3), "pos_embed": torch.zeros(1, 1 + patches[0] * patches[1], 3)}
    file = recognise({f"backbone.{name}": value for name, value in state.items()})
    assert replace(PLAIN, **file.preprocessing).mean[0] == mean


def openais(state):
    """The names of OpenAI's CLIP, with a piece of its tower of texts."""
    named = {"logit_scale": torch.zeros(()), "transformer.resblocks.0.ln_1.weight": torch.zeros(512)}
    for name, value in state.items():
        for old, new in (
            ("patch_embed.proj", "conv1"), ("blocks.", "transformer.resblocks."), ("norm_pre", "ln_pre"),
            ("norm1", "ln_1"), ("norm2", "ln_2"), ("attn.qkv.", "attn.in_proj_"), ("attn.proj", "attn.out_proj"),
            ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"),
        ):  # fmt: skip
            name = name.replace(old, new)
        if name == "cls_token":
            name, value = "class_embedding", value[0, 0]
        elif name == "pos_embed":
            name, value = "positional_embedding", value[0]
        elif name.startswith("projection."):
            name, value = "proj", value.T
        named[f"visual.{name.replace('norm.', 'ln_post.') if name.startswith('norm.') else name}"] = value
    return named


def test_clip_joins_its_class_token_and_the_projection_of_it(tmp_path, capsys):
    square = replace(CLIP, height_px=32, width_px=32)
    source = randomised(new_embedder(square, seed=0))
    state = source.backbone.state_dict()
    state["projection.bias"] = torch.zeros(512)  # OpenAI's has none
    weights = {name: value for name, value in state.items() if name != "projection.bias"}
    model = loaded(tmp_path, openais(weights), square)
    line = capsys.readouterr().out
    assert "CLIP of OpenAI" in line and model.architecture.mean[0] == pytest.approx(0.4815, abs=1e-4)
    assert all(torch.equal(value, state[name]) for name, value in model.backbone.state_dict().items())
    timms = {name.replace("projection.", "head."): value for name, value in state.items()}
    again = loaded(tmp_path, timms, square)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        found = model(images)
        token = model.backbone.forward_features(images)[:, 0]
        assert torch.equal(again(images).pooled, found.pooled) and model.dimension == 256 + 512
    expected = torch.cat([token, token @ state["projection.weight"].T], dim=1)
    torch.testing.assert_close(found.pooled[:, 0], expected)


def test_projections_are_clips_alone_and_keep_the_hubs_name():
    assert timm_name("clip_vit_base_projected") == "vit_base_patch16_clip_quickgelu_224.openai"
    assert timm_name("vit_small_ics") is None and timm_name("resnet18_half") is None
    with pytest.raises(ValueError, match="_projected: expected a vision transformer with a class token"):
        backbone("timm/resnet10t_projected")


def test_what_timm_cannot_convert_is_left_alone():
    assert converted({"a": torch.zeros(1)}, nn.Linear(2, 2)) is None
    network, _ = backbone("timm/convnext_atto")
    assert converted({"stages.0.0.pwconv9.weight": torch.zeros(3, 3)}, network) is None
