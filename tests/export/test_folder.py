"""The folder of a finished model: whole or not there, opened by reidlib.load, ONNX where asked for."""

import json

import numpy as np
import onnx
import pandas as pd
import pytest

import reidlib
from reidlib.calibration.calibration import Calibration, Curve, read_calibration
from reidlib.export import onnx_file
from reidlib.export.folder import export_folder, pictures_for, read_measures
from reidlib.images.split import Split
from reidlib.models.architecture import Architecture
from reidlib.models.description import Description
from reidlib.models.embedder import load_embedder, new_embedder

SHAPE = Architecture(
    backbone="gam_half", last_stride=1, pooling="gem", gem_power=3.0, batch_norm_group=64, height_px=32, width_px=16
)
CURVE = Curve(slope=9.0, offset=-4.0, false_match_rates=(0.01,), thresholds=(0.4,), pairs=100, strangers=100)
KNOWN = Calibration(prior=0.02, source="strangers", pooled=CURVE)
TOLD = Description(architecture=SHAPE, picture_size_px=(40, 20), training={"recipe": "icsr", "dataset": "mine"})


def split(images=5, height=40, width=20):
    pixels = np.random.default_rng(0).integers(0, 256, (images, height, width, 3), dtype=np.uint8)
    return Split(pixels, pd.DataFrame({"image": [f"{n:016x}" for n in range(images)], "camera": np.int16(0)}))


def export(folder, **values):
    model = new_embedder(SHAPE, seed=0).eval()
    settings = {"false_match_rate": 0.01, "onnx": None, "precision": "fp32"} | values
    return model, export_folder(folder, model, TOLD, KNOWN, split(), {}, **settings)


def test_it_is_a_model_that_load_opens_with_its_calibration_and_card(tmp_path):
    model, figures = export(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "model.safetensors", "calibration.json", "README.md",
    }  # fmt: skip
    loaded = reidlib.load(tmp_path / "model/model.safetensors", device="cpu")
    assert Calibration.from_dict(loaded.description.calibration) == KNOWN
    assert loaded.description.training == TOLD.training and loaded.size_px == (40, 20)
    assert read_calibration(tmp_path / "model/calibration.json") == KNOWN
    weights = load_embedder(tmp_path / "model/model.safetensors").state_dict()
    assert all((weights[name] == tensor).all() for name, tensor in model.state_dict().items())
    assert figures["dimension"] == model.dimension
    assert figures["parameters"] == sum(part.numel() for part in model.parameters())
    assert figures["bytes"] == (tmp_path / "model/model.safetensors").stat().st_size
    assert (tmp_path / "model/README.md").read_text().startswith("---\n")


def test_onnx_is_beside_where_it_is_asked_for_with_all_that_the_model_tells(tmp_path):
    _, figures = export(tmp_path / "model", onnx="inside")
    told = {entry.key: entry.value for entry in onnx.load(tmp_path / "model/model.onnx").metadata_props}
    assert Calibration.from_dict(Description.of_metadata(told).calibration) == KNOWN
    assert 0 <= figures["onnx_difference"] <= 1e-4
    assert "model.onnx is the same in fp32" in (tmp_path / "model/README.md").read_text()


def test_what_cannot_be_exported_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(onnx_file.LIMITS, "fp32", -1.0)
    with pytest.raises(ValueError, match="gam_half as fp32 ONNX gives embeddings that differ"):
        export(tmp_path / "model", onnx="inside")
    assert not list(tmp_path.iterdir())


def test_pictures_come_in_the_networks_size_and_are_enough():
    model = new_embedder(SHAPE, seed=0).eval()
    assert pictures_for(model, split().images).shape == (7, 32, 16, 3)
    same = split(9, 32, 16).images
    assert (pictures_for(model, same) == same[:7]).all()


def test_measures_are_those_that_are_there(tmp_path):
    (tmp_path / "evaluate.json").write_text(json.dumps({"inter_mAP": 50.0}))
    (tmp_path / "refine.json").write_text("{}")
    assert read_measures(tmp_path) == {"evaluate": {"inter_mAP": 50.0}}
