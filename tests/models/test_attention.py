"""Attention against loops over positions and channels, and behind the stages of real backbones."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from reidlib.models.attention import (
    ATTENTIONS,
    ChannelAttention,
    NonLocal,
    PositionAttention,
    add_attention,
    attention,
)
from reidlib.models.backbones import backbone

IDENTITIES = ("global_context", "non_local", "fpb")


def maps(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max())
    return powers / powers.sum()


@pytest.mark.parametrize("name", ATTENTIONS)
def test_maps_become_maps_of_the_same_shape_and_learn(name):
    module = attention(name, 32, reduction=4)
    features = maps(3, 32, 6, 2).requires_grad_()
    found = module(features)
    assert found.shape == features.shape
    found.square().sum().backward()
    assert features.grad.abs().sum() > 0
    assert any(value.grad is not None and value.grad.abs().sum() > 0 for value in module.parameters())
    last = features.detach().to(memory_format=torch.channels_last)
    torch.testing.assert_close(module.eval()(last), module(features), atol=1e-5, rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(module(features).float(), module(features.detach()).float())
        assert module(features.bfloat16()).isfinite().all()


@pytest.mark.parametrize("name", ATTENTIONS)
@pytest.mark.parametrize("training", [True, False])
def test_some_start_as_the_identity(name, training):
    features = maps(3, 32, 6, 2)
    found = attention(name, 32).train(training)(features)
    assert torch.equal(found, features) == (name in IDENTITIES)


def test_position_attention_is_a_loop_over_positions():
    module = PositionAttention(8, reduction=2).double()
    nn.init.constant_(module.factor, 0.7)
    features = maps(2, 8, 3, 2).double()

    def projected(layer: nn.Conv2d, vector: np.ndarray) -> np.ndarray:
        return layer.weight.detach().numpy()[:, :, 0, 0] @ vector + layer.bias.detach().numpy()

    for image, found in zip(features.numpy(), module(features).detach().numpy(), strict=True):
        positions = image.reshape(8, 6).T
        for i, position in enumerate(positions):
            query = projected(module.query, position)
            weights = softmax(np.array([query @ projected(module.key, other) for other in positions]))
            gathered = sum(w * projected(module.value, other) for w, other in zip(weights, positions, strict=True))
            np.testing.assert_allclose(found.reshape(8, 6)[:, i], position + 0.7 * gathered)


def test_without_a_softmax_products_are_divided_by_the_number_of_positions():
    module = attention("non_local", 8, reduction=4, softmax=False).double()
    features = maps(3, 8, 3, 2).double()
    assert torch.equal(module.eval()(features), features)  # as long as the norm's scale is 0
    nn.init.uniform_(module.norm.weight)
    nn.init.uniform_(module.norm.running_mean)
    weights = {name: value.detach().numpy() for name, value in module.state_dict().items()}

    def projected(name: str, vector: np.ndarray) -> np.ndarray:
        return weights[f"{name}.weight"][:, :, 0, 0] @ vector + weights[f"{name}.bias"]

    assert weights["query.weight"].shape == (2, 8, 1, 1)
    for image, found in zip(features.numpy(), module(features).detach().numpy(), strict=True):
        positions = image.reshape(8, 6).T
        for i, position in enumerate(positions):
            attended = sum(
                projected("query", position) @ projected("key", other) * projected("value", other) / 6
                for other in positions
            )
            normed = (projected("out", attended) - weights["norm.running_mean"]) / np.sqrt(1 + 1e-5)
            np.testing.assert_allclose(found.reshape(8, 6)[:, i], position + normed * weights["norm.weight"])


def test_global_context_may_multiply():
    module = attention("global_context", 8, reduction=2, multiply=True).double()
    features = maps(2, 8, 3, 2).double()
    weights = {name: value.detach().numpy() for name, value in module.state_dict().items()}
    for image, found in zip(features.numpy(), module(features).detach().numpy(), strict=True):
        flat = image.reshape(8, 6)
        gathered = flat @ softmax(weights["conv_attn.weight"][0, :, 0, 0] @ flat + weights["conv_attn.bias"])
        inside = weights["mlp_scale.fc1.weight"][:, :, 0, 0] @ gathered + weights["mlp_scale.fc1.bias"]
        inside = (inside - inside.mean()) / np.sqrt(inside.var() + module.mlp_scale.norm.eps)
        gate = weights["mlp_scale.fc2.weight"][:, :, 0, 0] @ inside.clip(0) + weights["mlp_scale.fc2.bias"]
        np.testing.assert_allclose(found, image / (1 + np.exp(-gate))[:, None, None])


def test_channel_attention_is_a_loop_over_channels():
    module = ChannelAttention().double()
    nn.init.constant_(module.factor, -0.4)
    features = maps(2, 5, 3, 2).double()
    for image, found in zip(features.numpy(), module(features).detach().numpy(), strict=True):
        channels = image.reshape(5, 6)
        for i, channel in enumerate(channels):
            products = channels @ channel
            weights = softmax(products.max() - products)  # as in the published code
            np.testing.assert_allclose(found[i].ravel(), channel - 0.4 * weights @ channels)


@pytest.mark.parametrize("module", [PositionAttention(4, reduction=2), ChannelAttention(), NonLocal(4).eval()])
def test_gradients(module):
    nn.init.constant_(module.norm.weight if isinstance(module, NonLocal) else module.factor, 0.5)
    module.double()
    assert torch.autograd.gradcheck(module, (maps(2, 4, 2, 3).double().requires_grad_(),))


@pytest.mark.parametrize("module", [PositionAttention(16, reduction=2), ChannelAttention()])
def test_self_attention_is_in_float32_inside_autocast(module):
    nn.init.constant_(module.factor, 0.5)
    features = 4 * maps(2, 16, 4, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = module(features)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, module(features.float()).bfloat16())


def test_the_parts_of_a_sequence_come_in_the_papers_order():
    torch.manual_seed(0)
    features = maps(2, 16, 4, 2)
    for name, kinds in (("fpb", "PositionAttention ChannelAttention"), ("plr", "PositionAttention SEModule")):
        parts = attention(name, 16)
        assert " ".join(type(part).__name__ for part in parts) == kinds
        nn.init.constant_(parts[0].factor, 0.5)
        torch.testing.assert_close(parts(features), parts[1](parts[0](features)))
    squeezed = torch.relu(parts[1].fc1(parts[0](features).mean((2, 3), keepdim=True)))
    torch.testing.assert_close(parts(features), parts[0](features) * parts[1].fc2(squeezed).sigmoid())


@pytest.mark.parametrize(
    ("name", "after", "channels"),
    [
        *(("resnet18_half", f"layer{stage}", 16 * 2**stage) for stage in (1, 2, 3, 4)),
        ("resnet18_half_ibn_a", "layer3", 128),
        ("timm/convnext_atto", "stages.2.blocks", 160),
        ("timm/mobilenetv3_small_050", "blocks.3", 24),
        ("osnet_x0_25", "conv3", 96),
    ],
)
def test_attention_behind_a_stage_changes_no_other_name_and_no_value(name, after, channels):
    network, _ = backbone(name)
    images = maps(2, 3, 64, 32)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        expected = network.eval()(images)
    network.train()
    add_attention(network, name="non_local", after=after)
    assert network.training
    after_it = network.state_dict()
    (prefix,) = network.added_prefixes
    assert prefix.startswith(f"{after}.") and all(torch.equal(after_it[name], before[name]) for name in before)
    assert after_it.keys() - before.keys() == {name for name in after_it if name.startswith(prefix)}
    assert network.get_submodule(prefix.strip(".")).norm.num_features == channels
    with torch.no_grad():
        rounding = 1e-5 * expected.abs().max()
        assert (network.eval()(images) - expected).abs().max() < rounding
        nn.init.ones_(network.get_submodule(prefix.strip(".")).norm.weight)
        assert (network(images) - expected).abs().max() > 100 * rounding


def test_several_may_follow_each_other():
    network, _ = backbone("resnet18_half", last_stride=1)
    add_attention(network, name="se", after="layer2", reduction=4)
    add_attention(network, name="fpb", after="layer2")
    add_attention(network, name="cbam", after="layer4")
    assert network.added_prefixes == ("layer2.2.", "layer2.3.", "layer4.2.")
    assert network.layer2[2].fc1.out_channels == 16
    assert network(maps(2, 3, 64, 32)).shape == (2, 256, 4, 2)


def test_attention_behind_last_blocks_is_a_part_of_them():
    """AGW's five places of a ResNet-50; of a network with fewer blocks behind all that there are."""
    network, _ = backbone("resnet18_half")
    before, images = network.state_dict(), maps(2, 3, 64, 32)
    expected = network.eval()(images)
    add_attention(network, name="non_local", after=["layer2[-1:]", "layer3[-3:]"], reduction=16, softmax=False)
    assert network.added_prefixes == ("layer2.1.attention.", "layer3.0.attention.", "layer3.1.attention.")
    torch.testing.assert_close(network(images), expected)
    found = network.state_dict()
    assert {name for name in found if not name.startswith(network.added_prefixes)} == set(before)
    maps_of = {}
    for path in ("layer3.0", "layer3.1"):
        nn.init.ones_(network.get_submodule(path).attention.norm.weight)
        network.get_submodule(path).attention.register_forward_hook(
            lambda _module, _inputs, out, path=path: maps_of.update({path: out})
        )
    copied = copy.deepcopy(network)
    network.layer4.register_forward_pre_hook(lambda _module, inputs: maps_of.update({"layer4": inputs[0]}))
    network(images)
    torch.testing.assert_close(maps_of["layer3.1"], maps_of["layer4"])
    network.layer3[0].attention.register_forward_hook(lambda _module, _inputs, out: torch.zeros_like(out))
    assert not torch.allclose(network(images), copied(images))  # the copy attends by parts of its own
    resnet50, _ = backbone("resnet50")
    add_attention(resnet50, name="non_local", after=["layer2[-2:]", "layer3[-3:]"], reduction=16, softmax=False)
    assert [prefix[:8] for prefix in resnet50.added_prefixes] == [
        "layer2.2", "layer2.3", "layer3.3", "layer3.4", "layer3.5"
    ]  # fmt: skip


def test_a_branched_network_attends_before_its_branches_and_in_each():
    network, _ = backbone("lightmbn_x0_25")
    places = ["conv2", "whole.conv3", "stripes.conv3", "halves.conv3"]
    add_attention(network, name="global_context", after=places, multiply=True)
    assert len(network.added_prefixes) == 3 + 4 and network.get_submodule("halves.conv3")[-1].mlp_add is None
    assert network(maps(2, 3, 64, 32)).shape == (2, 7, 128)


@pytest.mark.parametrize(
    ("name", "after", "message"),
    [
        ("resnet18_half", "layer5", r"\(layer1, layer2, layer3, layer4\), found 'layer5'"),
        ("resnet18_half", "layer1.0", "found 'layer1.0'"),
        ("resnet18_half", "layer5[-2:]", "found 'layer5'"),
        ("resnet18_half", "layer2[1:]", r"found 'layer2\[1:\]'"),
        ("timm/convnext_atto", "layer3", r"stages.2.blocks.*found 'layer3'"),
        ("timm/vit_tiny_patch16_224", "blocks.3", "it has none"),
        ("timm/swin_tiny_patch4_window7_224", "layers.2.blocks", "it has none"),
    ],
)
def test_other_places_are_refused_with_those_that_there_are(name, after, message):
    network, _ = backbone(name, size_px=(64, 32))
    with pytest.raises(ValueError, match=message):
        add_attention(network, name="se", after=after)
    assert not hasattr(network, "added_prefixes")


def test_unknown_names_and_settings_are_refused():
    with pytest.raises(ValueError, match=r"cbam, se, .*found 'senet'"):
        attention("senet", 8)
    with pytest.raises(ValueError, match=r"model.attention_settings.reductoin"):
        attention("plr", 8, reductoin=4)
    with pytest.raises(ValueError, match=r"model.attention_settings.reduction.*found: 0"):
        attention("se", 8, reduction=0)
