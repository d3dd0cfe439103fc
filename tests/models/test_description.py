"""What a model file tells beside its weights: always the same bytes, older files too, refusals."""

from dataclasses import replace

import pytest
from safetensors.torch import save_file

from reidlib.models.description import Description, fingerprint, read_description
from reidlib.models.embedder import load_embedder, new_embedder, save_embedder
from tests.crops import SMALL


def test_the_same_model_is_the_same_bytes(model_file, tmp_path):
    described = replace(read_description(model_file), calibration={"b": 1.0, "a": 2.0})
    for name in ("first", "second"):
        save_embedder(load_embedder(model_file), tmp_path / name, described)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_a_file_of_before_tells_its_architecture(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(new_embedder(SMALL, seed=1).state_dict(), path, metadata={"architecture": SMALL.to_json()})
    assert read_description(path) == Description(architecture=SMALL)
    assert read_description(path).size_px == (32, 16)


@pytest.mark.parametrize("text", ["{}", "no json", '{"architecture": {}}'])
def test_another_description_is_refused(tmp_path, text):
    path = tmp_path / "model.safetensors"
    save_file(new_embedder(SMALL, seed=1).state_dict(), path, metadata={"reidlib": text})
    with pytest.raises(ValueError, match="validation error"):
        read_description(path)


def test_pictures_come_in_the_size_that_unzip_gave_them_else_in_the_networks():
    described = Description(architecture=SMALL, picture_size_px=(64, 32))
    assert described.size_px == (64, 32) and replace(described, picture_size_px=None).size_px == (32, 16)


def test_bicubic_pictures_make_another_model(tmp_path):
    network, described = new_embedder(SMALL, seed=1), Description(architecture=SMALL, picture_interpolation="bicubic")
    save_embedder(network, tmp_path / "model.safetensors", described)
    assert read_description(tmp_path / "model.safetensors") == described
    prints = {fingerprint(network.state_dict(), one) for one in (described, Description(architecture=SMALL))}
    assert len(prints) == 2
