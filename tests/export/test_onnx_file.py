"""ONNX of every family against the network itself, what is refused, and that it runs without torch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from reidlib.embed import embed
from reidlib.export import onnx_file
from reidlib.export.onnx_file import export_onnx, preprocess
from reidlib.models.architecture import Architecture
from reidlib.models.description import Description
from reidlib.models.embedder import new_embedder

ROOT = Path(__file__).parents[2]
SIZE = (64, 32)
PLAIN = {"gem_power": 3.0, "batch_norm_group": 64, "last_stride": 2, "height_px": SIZE[0], "width_px": SIZE[1]}
FAMILIES = {
    "CNN": {"backbone": "resnet18_half", "pooling": "gem_trained", "last_stride": 1},
    "IBN": {"backbone": "resnet18_ibn_a", "pooling": "average_max"},
    "AIBN and camera norm": {
        "backbone": "resnet18_half", "pooling": "max", "normalisation": "aibn", "camera_norm_after": "layer1",
    },
    "before the neck": {"backbone": "resnet18_half", "pooling": "average", "embedding": "before_neck"},
    "OSNet-AIN with FPB": {
        "backbone": "osnet_ain_x0_25", "pooling": "gem", "attention": "fpb", "attention_after": "conv4",
    },
    "GAM": {"backbone": "gam_half", "pooling": "gem"},
    "LightMBN": {"backbone": "lightmbn_x0_25", "pooling": "parts"},
    "ViT": {"backbone": "timm/test_vit_ics", "pooling": "token", "patch_stride": 12},
    "ConvNeXt": {"backbone": "timm/test_convnext", "pooling": "average"},
    "ConvNeXt, norm behind": {"backbone": "timm/test_convnext", "pooling": "average_norm"},
}  # fmt: skip


def made(**values):
    """A network whose norms have seen data, so that nothing of them is 0 or 1."""
    model = new_embedder(Architecture(**PLAIN | values), seed=0)
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and ("running" in name or tensor.ndim == 1):
            tensor.add_(0.1 * torch.rand(tensor.shape, generator=generator))
    return model.eval()


def pictures(count=9, size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def run(path, images):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"images": images})[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_what_the_network_gives_in_batches_of_any_size(tmp_path, family):
    model, images = made(**FAMILIES[family]), pictures()
    told = export_onnx(model, tmp_path / "model.onnx", images=images)
    assert 0 <= told <= 1e-4
    expected = embed(model, images)
    for count in (1, 2, 3, 9):
        found = run(tmp_path / "model.onnx", images[:count])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected[:count], atol=1e-4)
    onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"))


def test_preprocessing_may_lie_beside_and_is_told(tmp_path):
    model, images = made(**FAMILIES["CNN"]), pictures()
    path = tmp_path / "model.onnx"
    description = Description(architecture=model.architecture, flip=True, calibration={"prior": 0.1})
    export_onnx(model, path, images=images, preprocessing="beside", description=description)
    told = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    wanted = json.loads(told["preprocessing"])
    assert wanted["where"] == "beside" and wanted["size_px"] == list(SIZE)
    assert Description.of_metadata(told) == description
    given = np.empty((9, 3, *SIZE), np.float32)
    for channel in range(3):  # the formula, a colour at a time
        given[:, channel] = (images[..., channel] / 255 - wanted["mean"][channel]) / wanted["std"][channel]
    np.testing.assert_allclose(preprocess(images, mean=wanted["mean"], std=wanted["std"]), given, atol=1e-6)
    np.testing.assert_allclose(run(path, given), embed(model, images, flip=True), atol=1e-4)


def test_a_network_for_any_size_takes_any_size(tmp_path):
    model = made(**FAMILIES["CNN"] | {"height_px": None, "width_px": None})
    export_onnx(model, tmp_path / "model.onnx", images=pictures())
    other = pictures(2, (96, 48))
    np.testing.assert_allclose(run(tmp_path / "model.onnx", other), embed(model, other), atol=1e-4)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_fewer_bits_are_smaller_and_nearly_equal(tmp_path, precision):
    model, images = made(**FAMILIES["ConvNeXt"]), pictures()
    export_onnx(model, tmp_path / "whole.onnx", images=images)
    told = export_onnx(model, tmp_path / "small.onnx", images=images, precision=precision)
    assert (tmp_path / "small.onnx").stat().st_size < 0.8 * (tmp_path / "whole.onnx").stat().st_size
    found = np.abs(run(tmp_path / "small.onnx", images[:7]) - embed(model, images[:7])).max()
    assert 0 < found <= told <= 1e-2


class DependsOnTheBatch(nn.Module):
    def forward(self, maps):
        return maps.mean(dim=(2, 3)) * torch.arange(1.0, len(maps) * maps.shape[1] + 1).view(len(maps), -1)[:1] ** (
            1 / len(maps)
        )


class HasNoEqual(nn.Module):
    def forward(self, maps):
        return maps.mean(dim=(2, 3)) + torch.linalg.eigvals(maps[:, :4, :1] @ maps[:, :4, :1].mT).real.mean()


@pytest.mark.parametrize(
    ("pool", "message"),
    [(HasNoEqual(), "resnet18_half: cannot be exported to ONNX"), (DependsOnTheBatch(), "resnet18_half as fp32 ONNX")],
)
def test_what_cannot_be_exported_is_refused_by_name_and_nothing_is_written(tmp_path, pool, message):
    model = made(**FAMILIES["CNN"])
    model.pool = pool
    with pytest.raises(ValueError, match=message):
        export_onnx(model.eval(), tmp_path / "model.onnx", images=pictures())
    assert not list(tmp_path.iterdir())


def test_too_few_pictures_or_of_another_size_are_refused(tmp_path):
    model = made(**FAMILIES["CNN"])
    for images in (pictures(6), pictures(7, (32, 32))):
        with pytest.raises(ValueError, match=r"expected at least 7 pictures of \(64, 32\)"):
            export_onnx(model, tmp_path / "model.onnx", images=images)


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ValueError, match=r"pip install 'reidlib\[export\]'"):
        export_onnx(made(**FAMILIES["CNN"]), tmp_path / "model.onnx", images=pictures())


def test_the_limit_is_the_one_promised():
    assert onnx_file.LIMITS["fp32"] == 1e-4 and onnx_file.BATCHES == (1, 2, 7)


def test_it_runs_without_torch_by_the_lines_of_the_documentation(tmp_path):
    model, images = made(**FAMILIES["GAM"]), pictures()
    export_onnx(model, tmp_path / "model.onnx", images=images)
    np.save(tmp_path / "pictures.npy", images)
    text = (ROOT / "docs/export.md").read_text()
    lines = text.split("```python\n")[1].split("```")[0]
    script = (
        "import sys\nsys.modules['torch'] = None\nimport numpy as np\n"
        f"pictures = np.load('pictures.npy')\n{lines}\nnp.save('vectors.npy', vectors)\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy"), embed(model, images), atol=1e-4)
