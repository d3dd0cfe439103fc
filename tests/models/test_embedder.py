from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from reidlib.models.embedder import Architecture, load_embedder, load_embedders, new_embedder, save_embedder

SMALL = Architecture(backbone="resnet18_half", last_stride=1, pooling="gem", gem_power=3.0, batch_norm_group=64)
VIT = replace(SMALL, backbone="timm/vit_tiny_patch16_224", last_stride=2, pooling="token", height_px=32, width_px=32)


def test_embeddings_are_unit_norm_in_training_and_evaluation():
    model = new_embedder(SMALL, seed=0)
    images = torch.randn(4, 3, 64, 32)
    for embeddings in (model.train()(images).embeddings, model.eval()(images).embeddings):
        assert embeddings.shape == (4, model.dimension)
        torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(4))


def test_the_seed_decides_the_weights_and_touches_no_global_generator():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second, other = (new_embedder(SMALL, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_a_saved_model_comes_back_whole(tmp_path):
    model = new_embedder(SMALL, seed=1)
    model.train()(torch.randn(8, 3, 64, 32))  # moves the running statistics
    save_embedder(model, tmp_path / "model.safetensors")
    (back,) = load_embedders(tmp_path)
    assert back.architecture == SMALL and SMALL.size_px is None and not back.training
    assert all(torch.equal(value, back.state_dict()[name]) for name, value in model.state_dict().items())


def test_the_settings_of_an_attention_are_its_own_and_come_back_from_a_file(tmp_path):
    chosen = replace(SMALL, attention="se", attention_after="layer3", attention_settings={"reduction": 4})
    save_embedder(new_embedder(chosen, seed=1), tmp_path / "model.safetensors")
    back = load_embedder(tmp_path / "model.safetensors")
    assert back.architecture == chosen and back.backbone.layer3[2].fc1.out_channels == 128 // 4
    with pytest.raises(
        ValueError, match=r"model.attention_settings: expected reduction:\n.*model.attention_settings.squeeze"
    ):
        new_embedder(replace(chosen, attention_settings={"squeeze": 4}), seed=1)


def test_the_bias_of_the_neck_stays_zero():
    model = new_embedder(SMALL, seed=0)
    assert not model.neck.bias.requires_grad and not model.neck.bias.any()


@pytest.mark.parametrize(
    "architecture",
    [
        SMALL,
        replace(SMALL, backbone="resnet18_half_ibn_a", pooling="gem_trained"),
        replace(SMALL, backbone="timm/convnext_atto", last_stride=2, pooling="average", height_px=32, width_px=32),
        replace(VIT, patch_stride=12, drop_path=0.1),
    ],
)
def test_bfloat16_changes_the_backbone_alone(architecture):
    model = new_embedder(architecture, seed=0).to(memory_format=torch.channels_last)
    images = torch.randn(4, 3, 32, 32).to(memory_format=torch.channels_last)
    seen: dict = {}
    products: list = []
    for name in ("backbone", "neck"):
        model.get_submodule(name).register_forward_hook(lambda _m, i, o, name=name: seen.update({name: (i[0], o)}))
    for module in model.backbone.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda _m, _i, o: products.append(o.dtype))
    for training in (True, False):
        products.clear()
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = model.train(training)(images).embeddings
        assert embeddings.dtype == torch.float32 and set(products) == {torch.bfloat16}
        torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(4))
        assert [value.dtype for value in seen["neck"]] == [torch.float32] * 2
        expected = model.pool(seen["backbone"][1].double()).float()
        torch.testing.assert_close(seen["neck"][0], expected, atol=1e-5, rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        model.train()(images).embeddings[:, 0].sum().backward()
    assert all(value.grad.dtype == torch.float32 for value in model.parameters() if value.grad is not None)


def test_files_that_are_no_models_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(ValueError, match="no such model"):
        load_embedder(path)
    with pytest.raises(ValueError, match="found none"):
        load_embedders(tmp_path)
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(ValueError, match="not an embedder written by this pipeline"):
        load_embedder(path)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="not an embedder written by this pipeline"):
        load_embedder(path)
    model = new_embedder(SMALL, seed=0)
    model.architecture = replace(SMALL, backbone="resnet18")
    save_embedder(model, path)
    with pytest.raises(ValueError, match="do not fit"):
        load_embedder(path)


def test_embeddings_before_the_neck_are_the_pooled_vectors_and_travel_with_the_file(tmp_path):
    torch.manual_seed(0)
    images = torch.randn(8, 3, 64, 32)
    model = new_embedder(replace(SMALL, embedding="before_neck"), seed=1)
    plain = new_embedder(SMALL, seed=1)
    for each in (model, plain):
        each.neck.weight.data.uniform_(0.5, 2)
        features = each.train()(images)
        torch.testing.assert_close(features.necked, each.train()(images).necked)
    found = model.eval()(images)
    pooled = found.pooled.flatten(1)
    torch.testing.assert_close(found.embeddings, pooled / pooled.norm(dim=1, keepdim=True))
    torch.testing.assert_close(found.summands, pooled)
    other = plain.eval()(images)
    assert torch.equal(other.summands, other.embeddings)
    assert not torch.allclose(found.embeddings, other.embeddings, atol=1e-3)
    save_embedder(model, tmp_path / "model.safetensors")
    back = load_embedder(tmp_path / "model.safetensors")
    assert torch.equal(back(images).embeddings, found.embeddings)


def test_the_camera_norm_stands_behind_one_stage_or_several():
    one, three = (
        new_embedder(replace(SMALL, camera_norm_after=after, cameras=3), seed=0)
        for after in ("layer1", ["layer1", "layer2", "layer3"])
    )
    assert three.architecture.camera_norms == ("layer1", "layer2", "layer3") and SMALL.camera_norms == ()
    assert set(three.state_dict()) - set(one.state_dict()) == {
        f"backbone.layer{stage}.2.{name}" for stage in (2, 3) for name in ("mean", "variance", "seen")
    }
    assert Architecture.from_json(three.architecture.to_json()).camera_norms == three.architecture.camera_norms
