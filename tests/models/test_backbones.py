import pytest
import torch

from reidlib.models.backbones import BUILDERS, TIMM, backbone
from reidlib.models.embedder import Architecture, new_embedder

SIZE = (64, 32)
VIT = "timm/vit_tiny_patch16_224"


@pytest.mark.parametrize(
    "name", ["resnet18_half", "resnet50_ibn_a", "resnet18_ibn_b", "timm/resnet18d", "timm/resnest14d"]
)
@pytest.mark.parametrize("last_stride", [1, 2])
def test_the_feature_map_of_a_resnet_has_the_stride_asked_for(name, last_stride):
    network, width = backbone(name, last_stride=last_stride)
    with torch.inference_mode():
        features = network.eval()(torch.zeros(1, 3, 64, 32))
    down = 16 * last_stride
    assert features.shape == (1, width, 64 // down, 32 // down)


@pytest.mark.parametrize("name", BUILDERS)
def test_own_networks_give_a_map_of_their_width_or_parts_of_it(name):
    network, width = backbone(name)
    with torch.inference_mode():
        found = network.eval()(torch.zeros(2, 3, *SIZE))
    expected = (2, network.parts, width) if hasattr(network, "parts") else (2, width, *found.shape[2:])
    assert found.shape == expected and network.head_hidden_size == width


@pytest.mark.parametrize(
    "name", ["mobilenetv3_small_050", "efficientnet_b0", "convnext_atto", "swin_tiny_patch4_window7_224", "resnext26ts"]
)
def test_any_network_of_timm_gives_a_map_of_its_width(name):
    network, width = backbone(f"timm/{name}", size_px=SIZE)
    with torch.inference_mode():
        assert network.eval()(torch.zeros(2, 3, *SIZE)).shape == (2, width, 2, 1)


@pytest.mark.parametrize(
    ("name", "pooling"),
    [("vit_tiny_r_s16_p8_224", "token"), ("xcit_nano_12_p16_224", "token"), ("pit_ti_224", "token"),
     ("pvt_v2_b0", "average"), ("edgenext_xx_small", "average"), ("mobilevit_xxs", "average"),
     ("mobilenetv4_conv_small", "gem"), ("regnetx_002", "gem")],
)  # fmt: skip
def test_families_of_timm_take_two_steps(name, pooling):
    values = {"backbone": f"timm/{name}", "last_stride": 2, "pooling": pooling, "gem_power": 3.0, "batch_norm_group": 4}
    model = new_embedder(Architecture(**values, height_px=128, width_px=64), seed=0).train()
    images, target = torch.randn(4, 3, 128, 64), torch.nn.functional.normalize(torch.randn(4, model.dimension))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    before = next(model.backbone.parameters()).detach().clone()
    for _ in range(2):
        optimiser.zero_grad()
        loss = (model(images).embeddings - target).square().sum()
        loss.backward()
        optimiser.step()
        assert torch.isfinite(loss)
    assert not torch.equal(before, next(model.backbone.parameters()))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("deit_tiny_distilled_patch16_224", "its head cannot be taken off"),
        ("pit_ti_distilled_224", "its head cannot be taken off"),
        ("coat_lite_tiny", "its head cannot be taken off"),
        ("levit_128s", r"expected a map of features, or tokens with a class token, of width 384; found \(1, 2, 384\)"),
        ("resmlp_12_224", "expected a map of features, or tokens with a class token"),
        ("efficientformer_l1", "takes no images of 128 x 64 pixels"),
        ("convit_tiny", "takes no images of 128 x 64 pixels"),
    ],
)
def test_families_of_timm_that_do_not_fit_are_refused_by_name(name, message):
    with pytest.raises(ValueError, match=rf"model\.backbone=timm/{name}: {message}"):
        backbone(f"timm/{name}", size_px=(128, 64))


def test_the_weights_do_not_depend_on_the_stride():
    first, second = (backbone("resnet18", last_stride=stride)[0].state_dict() for stride in (1, 2))
    assert {name: value.shape for name, value in first.items()} == {name: value.shape for name, value in second.items()}


def test_parameter_counts():
    def count(name, **options):
        return sum(parameter.numel() for parameter in backbone(name, **options)[0].parameters())

    assert count("resnet50") == 23_508_032  # 25.6 M with the classifier of 2.05 M [He et al., CVPR 2016]
    assert count("resnet50_ibn_a") == count("resnet50")  # instance norm and batch norm have as many as batch norm alone
    assert count("resnet18_half") < 3e6
    assert set(TIMM) == {"resnet18", "resnet50", "vit_small", "vit_base", "clip_vit_base"}
    assert count("vit_small", size_px=(224, 224)) == 21_665_664  # 22.05 M with the classifier [arXiv:2106.10270]


@pytest.mark.parametrize(("patch_stride", "grid"), [(None, (16, 8)), (12, (21, 10))])  # 21 x 10: TransReID's figure
def test_a_vision_transformer_gives_its_class_token_and_one_of_each_patch(patch_stride, grid):
    network, width = backbone(VIT, size_px=(256, 128), patch_stride=patch_stride)
    assert width == 192 and network.pos_embed.shape == (1, 1 + grid[0] * grid[1], width)
    images = torch.randn(1, 3, 256, 128)
    with torch.inference_mode():
        assert network.eval()(images).shape == (1, 1 + grid[0] * grid[1], width)
        patches = network.patch_embed(images)
    step = patch_stride or 16
    last = images[:, :, (grid[0] - 1) * step :, (grid[1] - 1) * step :][:, :, :16, :16]
    expected = torch.einsum("bchw,dchw->bd", last, network.patch_embed.proj.weight) + network.patch_embed.proj.bias
    torch.testing.assert_close(patches[:, -1], expected, atol=1e-4, rtol=1e-4)


def test_drop_path_leaves_branches_out_in_training_only():
    network, _ = backbone("resnet18_half", drop_path=0.9)
    images = torch.randn(1, 3, *SIZE)
    torch.manual_seed(0)
    with torch.inference_mode():
        assert torch.equal(network.eval()(images), network(images))
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
            torch.nn.init.ones_(module.weight)  # branches begin at zero
    with torch.inference_mode():
        assert len({float(network(images).sum()) for _ in range(8)}) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "resnet5"}, r"resnet18_half.*found 'resnet5'"),
        ({"name": "timm/resnet5"}, "found 'timm/resnet5'"),
        ({"name": "timm/hf-hub:somebody/something"}, "found 'timm/hf-hub"),
        ({"name": "timm/mobilenetv3_small_050", "last_stride": 1}, "last_stride=1.*set 2 for timm/mobilenetv3"),
        ({"name": VIT}, "height_px, model.width_px: timm/vit_tiny"),
        ({"name": "resnet18", "patch_stride": 12}, "patch_stride.*found 12 for resnet18"),
        ({"name": VIT, "size_px": SIZE, "patch_stride": 17}, "patch_stride.*found 17"),
        ({"name": "timm/swin_tiny_patch4_window7_224", "size_px": SIZE, "patch_stride": 3}, "patch_stride"),
        ({"name": "timm/mobilenetv3_small_050_ibn_a"}, "expected a ResNet"),
        ({"name": "osnet_x1_0_ibn_b"}, "expected a ResNet"),
        ({"name": "resnet18_ics"}, "expected a vision transformer.*found ResNet"),
        ({"name": f"{VIT}_ics", "size_px": SIZE, "patch_stride": 7}, "2 to the side.*found 7"),
        ({"name": "osnet_x1_0", "last_stride": 1}, "last_stride=1.*set 2 for osnet_x1_0"),
        ({"name": "lightmbn_x0_25", "drop_path": 0.1}, "drop_path=0.1: lightmbn_x0_25 leaves no branches out"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        backbone(**options)


@pytest.mark.parametrize(
    ("name", "pooling", "message"),
    [
        (VIT, "gem", "expected token"),
        ("timm/convnext_atto", "gem", "expected average or average_max or max"),
        ("resnet18_half", "token", "expected average or average_max or gem"),
    ],
)
def test_a_pooling_that_does_not_suit_the_network_is_refused(name, pooling, message):
    values = {"backbone": name, "last_stride": 2, "pooling": pooling, "gem_power": 3.0, "batch_norm_group": 64}
    with pytest.raises(ValueError, match=message):
        new_embedder(Architecture(**values, height_px=64, width_px=32), seed=0)
