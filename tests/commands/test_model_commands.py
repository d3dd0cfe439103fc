"""`reidlib export` and `reidlib calibrate` as a person types them."""

import numpy as np
import onnxruntime
import pandas as pd
import pytest

import reidlib
from reidlib.calibration.calibration import Calibration
from reidlib.commands.table import main
from reidlib.images.split import write_rows
from reidlib.labels.pseudo_labels import write_labels
from reidlib.tables import write_array


def test_export_writes_onnx_that_gives_the_models_vectors(model_file, model, crops, tmp_path, capsys):
    path = tmp_path / "model.onnx"
    main(["export", "--model", str(model_file), "--to", str(path), "--pictures", str(crops)])
    assert f"wrote {path}: fp32, preprocessing inside" in capsys.readouterr().out
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 16, 3), np.uint8)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"images": images})[0], model.embed(list(images)), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--model", "nothing.safetensors"], "no such model"), (["--pictures", "nowhere"], "nowhere")],
)
def test_export_says_what_is_wrong_and_writes_nothing(model_file, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(["export", "--model", str(model_file), *options])
    assert words in str(caught.value.code)
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_no_onnx_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["export", "--to", "model.pt"])
    assert "expected a name that ends with .onnx" in capsys.readouterr().err


@pytest.fixture
def dataset(model_file, model, tmp_path):
    """What the pipeline leaves of a dataset: the model, its training images' embeddings and their clusters."""
    folder, generator = tmp_path / "data/mine", np.random.default_rng(0)
    colours = generator.integers(0, 256, (20, 1, 1, 3))
    noise = generator.integers(-20, 21, (20, 4, 32, 16, 3))
    images = (colours[:, None] + noise).clip(0, 255).astype(np.uint8).reshape(-1, 32, 16, 3)
    ids = [f"{number:016x}" for number in range(len(images))]
    rows = pd.DataFrame({"image": ids, "camera": np.arange(80) % 2, "tracklet": -1, "frame": -1})
    write_rows(folder / "embeddings/train", rows)
    write_array(folder / "embeddings/train/inter.npy", model.embed(list(images)))
    write_labels(
        folder / "inter/labels.parquet", images=rows["image"], labels=np.repeat(np.arange(20, dtype=np.int32), 4)
    )
    (folder / "inter/model.safetensors").write_bytes(model_file.read_bytes())
    return folder


def test_calibrate_writes_the_model_with_what_it_learnt_on_the_gallery(dataset, crops, tmp_path, capsys):
    gallery, path = tmp_path / "gallery", tmp_path / "calibrated.safetensors"
    model = dataset / "inter/model.safetensors"
    main(["index", str(crops), "--gallery", str(gallery), "--model", str(model)])
    main(["calibrate", str(dataset), "--gallery", str(gallery), "--to", str(path), "--pairs", "100"])
    told = capsys.readouterr().out
    assert "pairs: 144" in told and "held out: 1" in told and f"wrote {path}" in told
    calibrated, before = reidlib.load(path, device="cpu"), reidlib.load(model, device="cpu")
    known = Calibration.from_dict(calibrated.description.calibration)
    assert before.description.calibration is None and calibrated.fingerprint == before.fingerprint
    assert known.prior == pytest.approx(4 / 24) and not known.cameras  # of two cameras there is one pair
    assert known.pooled.strangers == 24 * 80


def test_calibrate_refuses_what_is_out_of_range(dataset, tmp_path):
    with pytest.raises(SystemExit) as caught:
        main(["calibrate", str(dataset), "--prior", "2", "--gallery", str(tmp_path / "gallery")])
    assert "calibrate.prior" in str(caught.value.code)
