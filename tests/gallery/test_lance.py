"""A gallery in LanceDB answers as the folder that it was written from does; what is wrong is told."""

import sys

import numpy as np
import pandas as pd
import pytest

from reidlib.commands.table import main
from reidlib.gallery import lance
from reidlib.gallery.gallery import Gallery
from reidlib.gallery.lance import LanceGallery, write_lance
from reidlib.gallery.model import load
from reidlib.gallery.store import Manifest, write_version, writing
from reidlib.models.description import Description
from reidlib.models.embedder import new_embedder, save_embedder
from reidlib.serve.server import PageServer
from tests.crops import SMALL

CAMERAS = ["it's", 'a "door"', "", "x') OR ('1'='1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """600 made-up rows: names with quotes, tracklets of some, times of two thirds."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(600, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = pd.DataFrame(
        {
            "path": [f"/p/{number}'.jpg" for number in range(600)],
            "camera": generator.choice(CAMERAS, 600),
            "time": np.where(np.arange(600) % 3 == 0, np.nan, generator.integers(0, 50, 600)),
            "tracklet": generator.choice(["", "t'1", "t2", *map(str, range(40))], 600),
            "identity": "",
            "thumbnail_end": 2 * np.arange(1, 601),
        }
    )
    place = tmp_path_factory.mktemp("folder") / "gallery"
    empty = Manifest(model="m", fingerprint="f", model_file="", dimension=16, rows=0, version="none")
    with writing(place):
        jpegs = np.repeat(np.arange(600) % 256, 2).astype(np.uint8)
        write_version(place, empty, vectors=[vectors], rows=rows, thumbnails=[jpegs])
    return Gallery(place)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return f"lance://{tmp_path_factory.mktemp('lance')}/people"


@pytest.fixture(scope="module")
def table(folder, address):
    return write_lance(folder, address)


@pytest.mark.parametrize("seed", range(12))
def test_answers_are_those_of_the_folder(folder, table, seed):
    generator = np.random.default_rng(seed)
    limits = {
        "k": int(generator.integers(1, 60)),
        "cameras": [None, CAMERAS[:2], CAMERAS[3:], []][seed % 4],
        "since": [None, 10.0, "20"][seed % 3],
        "until": [None, 30][seed % 2],
        "per_tracklet": bool(generator.random() < 0.6),
    }
    what = (
        [int(row) for row in generator.integers(0, 600, 3)] if seed % 2 else np.array(folder.vectors[seed : seed + 2])
    )
    found, expected = table.search(what, **limits), folder.search(what, **limits)
    for name in ("query", "rank", "row", "path", "camera", "tracklet", "identity"):
        assert found[name].tolist() == expected[name].tolist(), name
    np.testing.assert_allclose(found["similarity"].astype(float), expected["similarity"].astype(float), atol=1e-6)
    np.testing.assert_array_equal(found["time"].to_numpy(float), expected["time"].to_numpy(float))
    assert list(found) == list(expected)


def test_rows_and_thumbnails_are_those_of_the_folder(folder, table):
    pd.testing.assert_frame_equal(table.rows, folder.rows)
    assert len(table) == 600 and [table.thumbnail(row) for row in (0, 7, 599)] == [b"\0\0", b"\7\7", b"WW"]
    with pytest.raises(ValueError, match=r"people: expected rows 0\.\.599, found 600"):
        table.search(600)


def test_a_large_one_is_searched_by_its_index(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(lance, "EXACT_UP_TO", 100)
    large = write_lance(folder, f"lance://{tmp_path}/large")
    assert {index.index_type for index in large._table.list_indices()} == {"IvfSq", "BTree", "Bitmap"}
    queries = np.array(folder.vectors[:20])
    for how in ({}, {"exact": True}, {"cameras": CAMERAS[:1], "since": 20}):
        found, expected = (gallery.search(queries, k=5, **how)["row"].tolist() for gallery in (large, folder))
        assert found == expected  # all parts of so small an index are searched


def test_a_table_is_replaced_as_a_whole(folder, tmp_path):
    place = f"lance://{tmp_path}/people"
    write_lance(folder, place)
    small = folder.folder.parent / "small"
    with writing(small):
        rows = folder._table.iloc[:3]
        write_version(
            small, folder.manifest, vectors=[folder.vectors[:3]], rows=rows, thumbnails=[np.zeros(6, np.uint8)]
        )
    assert len(write_lance(Gallery(small), place)) == 3 and len(LanceGallery(place).search(0, per_tracklet=False)) == 2


def test_the_command_line_writes_searches_and_serves_it(model_file, crops, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "140")
    (tmp_path / "model.safetensors").symlink_to(model_file)
    main(["index", str(crops), "--to", "lance://tables/people"])
    assert "wrote lance://tables/people: 24 rows" in capsys.readouterr().out
    main(["search", str(crops / "door/person3/001.png"), "--gallery", "lance://tables/people", "--camera", "yard"])
    first = next(line for line in capsys.readouterr().out.splitlines() if "yard" in line)
    assert "person3" in first
    monkeypatch.setattr(PageServer, "serve_forever", lambda server: print(server.page.context(3)["tracklet"]["total"]))
    main(["serve", "lance://tables/people", "--port", "0"])
    told = capsys.readouterr().out
    assert "lance://tables/people: 24 pictures; search them at" in told and told.endswith("\n2\n")


def test_what_is_wrong_is_said(table, address, tmp_path, monkeypatch):
    for wrong, words in (
        ("people", "expected lance://PLACE/NAME, such as"), ("lance://people", "expected lance://PLACE/NAME"),
        (f"lance://{tmp_path}/nobody", "no gallery .*write one: reidlib index --to lance://"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            LanceGallery(wrong)
    save_embedder(new_embedder(SMALL, seed=2), tmp_path / "other.safetensors", Description(architecture=SMALL))
    with pytest.raises(ValueError, match=r"people: a gallery of the model m \[f\], not of other"):
        LanceGallery(address, model=load(tmp_path / "other.safetensors"))
    with pytest.raises(ValueError, match=r"expected cameras among .*found roof"):
        table.search(0, cameras=["roof"])
    with pytest.raises(ValueError, match="a table's tracklets are not averaged"):
        table.search(0, per_tracklet="average")
    with pytest.raises(ValueError, match=r"its model m is not at any file any more"):
        table.search(tmp_path / "picture.jpg")
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(ValueError, match=r"needs the extra `scale`: pip install 'reidlib\[scale\]'"):
        LanceGallery(address)


def test_another_programs_table_is_refused(tmp_path):
    import lancedb

    lancedb.connect(tmp_path).create_table("theirs", pd.DataFrame({"a": [1]}))
    with pytest.raises(ValueError, match="theirs: no gallery"):
        LanceGallery(f"lance://{tmp_path}/theirs")
