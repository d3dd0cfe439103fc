"""embed, index and search on the command line: what they write and print, what they say where something is wrong."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reidlib
from reidlib.calibration.calibration import Calibration, Curve
from reidlib.commands.table import main
from reidlib.gallery.pictures import picture_files
from reidlib.models.embedder import save_embedder


@pytest.fixture
def here(tmp_path, monkeypatch, model_file, crops):
    """A working directory with a model and crops, as links."""
    (tmp_path / "model.safetensors").symlink_to(model_file)
    (tmp_path / "crops").symlink_to(crops)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    return tmp_path


def refused(*arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return str(caught.value.code)


def test_embed_writes_vectors_and_the_order_of_the_pictures(here, model, crops, capsys):
    main(["embed", "crops", "--to", "crops.npy"])
    assert capsys.readouterr().out == "wrote crops.npy: 24 vectors of length 256\n"
    files = (here / "crops.txt").read_text().splitlines()
    assert files == [str(path.relative_to(crops.parent)) for path in picture_files(crops)]
    np.testing.assert_allclose(np.load(here / "crops.npy"), model.embed(crops), atol=1e-5)


def test_index_and_search_find_who_it_is(here, capsys):
    main(["index", "crops"])
    told = capsys.readouterr().out
    assert "added 24 pictures to gallery" in told and "24 pictures by the model model (icsr on crops); searched" in told
    main(
        ["index", "crops/door", "crops/yard/person1/000.png"]
    )  # the same pictures, told of otherwise: left as they are
    assert "added 0 pictures to gallery, 13 were there" in capsys.readouterr().out
    main(["search", "crops/door/person3/001.png", "--camera", "yard", "-k", "2"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "yard" in line]
    assert len(lines) == 2 and "person3" in lines[0] and "crops/yard/person3/" in lines[0]
    main(["search", "crops/door/person3", "--to", "answers.csv"])
    answers = pd.read_csv("answers.csv")
    assert answers["query"].nunique() == 2 and len(answers) == 20
    assert set(answers["tracklet"][answers["rank"] <= 2]) == {"person3"}
    main(["search", "--row", "0", "--every-picture", "-k", "30", "--exact"])
    assert capsys.readouterr().out.count("crops/") == 23
    main(["search", "--row", "0", "--since", "2024-01-01"])
    assert "no answer: nothing in the gallery passes the filters" in capsys.readouterr().out
    main(["index", "--remove", "crops/door"])
    assert "removed 12 pictures from gallery" in capsys.readouterr().out
    main(["index", "--index", "hnsw"])
    assert (
        "gallery: 12 pictures by the model model (icsr on crops); index hnsw, measured recall 1"
        in capsys.readouterr().out
    )


def test_cameras_and_times_come_of_names_or_a_table(here, capsys):
    main(["index", "crops", "--names", r"/(?P<camera>door|yard)/person(?P<identity>\d)/(?P<time>\d+)"])
    main(["search", "--row", "0", "--until", "0", "--camera", "yard", "--to", "answers.csv", "--every-picture"])
    answers = pd.read_csv("answers.csv")
    assert set(answers["camera"]) == {"yard"} and set(answers["time"]) == {0} and len(answers) == 6
    pd.DataFrame({"path": ["crops/door/person0/000.png"], "camera": ["7"]}).to_csv("rows.csv", index=False)
    main(["index", "crops/door/person0/000.png", "--rows", "rows.csv", "--gallery", "other"])
    main(["search", "--gallery", "other", "crops/door/person0/000.png", "--camera", "7"])
    assert "crops/door/person0/000.png" in capsys.readouterr().out


def test_what_is_wrong_is_said_with_what_to_do(here, capsys):
    (here / "empty").mkdir()
    assert "empty: expected pictures" in refused("index", "empty")
    assert "nowhere: expected a picture or a folder" in refused("index", "nowhere")
    assert "gallery: expected a gallery, found no gallery.json; make one: reidlib index" in refused(
        "search", "--row", "0"
    )
    (here / "bad.jpg").write_bytes(b"none")
    words = refused("index", "crops", "bad.jpg")
    assert "1 of 25 pictures cannot be read" in words and "--skip-bad" in words and not (here / "gallery").exists()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        main(["index", "crops", "bad.jpg", "--skip-bad"])
    told = capsys.readouterr()
    assert "added 24 pictures" in told.out and "warning: left out: 1 of 25" in told.err
    assert "cannot be read" in refused("embed", "bad.jpg", "--to", "x.npy") and not list(here.glob("x.*"))
    assert refused("search") == "2" and refused("search", "crops", "--row", "1") == "2" and refused("index") == "2"
    assert refused("embed", "crops", "--to", "x.csv") == "2"
    (here / "model.safetensors").unlink()
    (here / "model.safetensors").write_text("<html>")
    assert "found a web page" in refused("embed", "crops", "--to", "x.npy")
    assert "is not at" not in refused("index", "crops/door", "--model", "nowhere.safetensors")


def test_warnings_are_told_without_the_line_of_code(capsys):
    from reidlib.commands.table import _show

    _show(UserWarning("three pictures are left out"), UserWarning, "file.py", 3)
    assert capsys.readouterr().err == "warning: three pictures are left out\n"


def test_a_calibrated_model_tells_strangers(here, capsys):
    """The gallery of a model whose calibration lets everything, or nothing, be known."""
    model = reidlib.load("model.safetensors")
    for threshold, nobody in ((-1.0, False), (2.0, True)):
        rates, thresholds = (0.001, 0.1), (threshold, threshold)
        curve = Curve(slope=5.0, offset=0.0, false_match_rates=rates, thresholds=thresholds, pairs=9, strangers=9)
        learnt = Calibration(prior=0.1, source="strangers", pooled=curve).to_dict()
        save_embedder(model.embedder, Path("known.safetensors"), replace(model.description, calibration=learnt))
        main(["index", "crops", "--gallery", f"people{nobody}", "--model", "known.safetensors"])
        capsys.readouterr()
        query = str(picture_files(Path("crops"))[0])
        main(["search", query, "--gallery", f"people{nobody}"])
        told = capsys.readouterr().out
        assert ("nobody known" in told) == nobody and "P(same)" in told
