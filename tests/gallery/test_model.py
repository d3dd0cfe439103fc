"""A model opened anywhere: what it embeds, what it refuses."""

import io
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import reidlib
from reidlib.gallery.model import load
from reidlib.gallery.pictures import picture_files
from reidlib.models.description import read_description
from reidlib.models.embedder import load_embedder, new_embedder, save_embedder
from tests.crops import SMALL


def one_at_a_time(model_file, files):
    """The plain way: Pillow, a normalised batch of one, the network."""
    network, vectors = load_embedder(model_file), []
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for file in files:
        small = Image.open(file).convert("RGB").resize((16, 32), Image.Resampling.BILINEAR)
        batch = ((torch.from_numpy(np.array(small)) / 255 - mean) / std).permute(2, 0, 1)[None]
        with torch.inference_mode():
            vectors.append(network(batch).embeddings[0].numpy())
    return np.stack(vectors)


def test_paths_pil_images_and_arrays_are_embedded_alike_and_in_order(model, model_file, crops):
    files = picture_files(crops)
    expected = one_at_a_time(model_file, files)
    found = model.embed(crops, batch_size=5)
    assert found.dtype == np.float32 and found.shape == (24, model.dimension)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    images = [Image.open(file) for file in files]
    mixed = [str(files[3]), images[2], np.asarray(images[1]), files[0]]
    np.testing.assert_allclose(model.embed(mixed), expected[[3, 2, 1, 0]], atol=1e-5)
    stacked = np.stack([np.asarray(image) for image in images])
    np.testing.assert_allclose(model.embed(stacked), expected, atol=1e-5)
    np.testing.assert_allclose(model.embed(files[7]), expected[7:8], atol=1e-5)
    grey = images[0].convert("L")
    np.testing.assert_allclose(model.embed(np.asarray(grey)), model.embed(grey.convert("RGB")), atol=1e-5)


def test_a_picture_turned_by_exif_is_turned(model, crops, tmp_path):
    picture = Image.open(picture_files(crops)[0])
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn clockwise
    stream = io.BytesIO()
    picture.rotate(90, expand=True).save(stream, "PNG", exif=exif)
    (tmp_path / "lying.png").write_bytes(stream.getvalue())
    for turned in (Image.open(stream), tmp_path / "lying.png"):
        np.testing.assert_allclose(model.embed(turned), model.embed(picture), atol=1e-5)


def test_bad_pictures_are_named_or_left_out_with_a_count(model, crops, tmp_path):
    folder = shutil.copytree(crops, tmp_path / "crops")
    (folder / "door/person0/000.png").write_bytes(b"no picture")
    (folder / "yard/person5/cut.png").write_bytes((folder / "yard/person5/000.png").read_bytes()[:100])
    with pytest.raises(
        ValueError, match=r"2 of 25 pictures cannot be read: [^:]*000.png: no picture of a format"
    ) as caught:
        model.embed(folder)
    assert "cut.png" in str(caught.value) and "skip" in str(caught.value)
    with pytest.warns(UserWarning, match="left out: 2 of 25 pictures"):
        found = model.embed_each(folder, on_bad_picture="skip", batch_size=4)
    assert sorted(found.problems) == [0, 24] and len(found.vectors) == 23
    np.testing.assert_allclose(found.vectors, model.embed(crops)[1:], atol=1e-5)
    assert found.kept.tolist() == list(range(1, 24))


@pytest.mark.parametrize(
    ("pictures", "words"),
    [
        ([], "expected pictures to embed, found none"),
        (["nowhere.png"], r"1 of 1 pictures cannot be read: \n  nowhere.png: cannot be read \(No such file"),
        (np.zeros((2, 3), np.float32), "picture 0: expected an array of uint8"),
        ([np.zeros((0, 3, 3), np.uint8)], "picture 0: expected an array of uint8"),
        (Image.new("F", (2, 2)), "picture 0: expected a PIL image of 8 bits, found mode F"),
        ([np.zeros((4, 3, 4), np.uint8)], "picture 0: expected an array of uint8"),
    ],
)
def test_what_is_no_picture_is_refused(model, pictures, words):
    with pytest.raises(ValueError, match=words):
        model.embed(pictures)


def test_a_folder_without_pictures_is_refused(model, tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ValueError, match=f"{tmp_path}: expected pictures"):
        model.embed(tmp_path)


def test_a_model_file_tells_all_it_takes(model, model_file, crops, tmp_path):
    assert model.name == "model (icsr on crops)" and model.size_px == (32, 16)
    path = tmp_path / "other.safetensors"
    described = replace(read_description(model_file), flip=True, calibration={"slope": 2.0}, training={})
    save_embedder(load_embedder(model_file), path, described)
    mirrored = reidlib.load(path)
    assert mirrored.description == described and mirrored.name == "other"
    files = picture_files(crops)[:3]
    both = model.embed(files) + model.embed(
        [Image.open(file).transpose(Image.Transpose.FLIP_LEFT_RIGHT) for file in files]
    )
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    np.testing.assert_allclose(mirrored.embed(files), both, atol=1e-5)
    calibrated = replace(read_description(model_file), calibration={"slope": 2.0}, training={})
    save_embedder(load_embedder(model_file), path, calibrated)
    prints = [reidlib.load(path).fingerprint, mirrored.fingerprint]
    save_embedder(new_embedder(SMALL, seed=2), path, calibrated)
    prints.append(reidlib.load(path).fingerprint)
    assert prints[0] == model.fingerprint and len(set(prints)) == 3  # of weights and preprocessing alone


def test_the_size_of_pictures_is_told_or_asked_for(model, crops, tmp_path):
    path = tmp_path / "model.safetensors"
    anything = replace(SMALL, height_px=None, width_px=None)
    save_embedder(new_embedder(anything, seed=1), path)
    with pytest.raises(ValueError, match="does not tell the size"):
        load(path).embed(crops)
    np.testing.assert_allclose(load(path, size_px=(32, 16)).embed(crops), model.embed(crops), atol=1e-5)
    save_embedder(new_embedder(SMALL, seed=1), path)
    with pytest.raises(ValueError, match=r"its pictures are of \(32, 16\) pixels"):
        load(path, size_px=(64, 32))


def test_files_of_other_programs_are_refused_with_what_they_are(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(ValueError, match="no such model"):
        load(path)
    path.write_text("<html>not found</html>")
    with pytest.raises(ValueError, match="found a web page"):
        load(path)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="expected an entry 'reidlib' in its metadata, found none"):
        load(path)
    save_file({"weight": torch.zeros(1)}, path, metadata={"reidlib": "{}"})
    with pytest.raises(ValueError, match="not an embedder written by this pipeline"):
        load(path)


def test_an_unknown_attribute_is_an_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        reidlib.nothing  # noqa: B018
