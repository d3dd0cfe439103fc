"""A gallery from its first picture to its last: added to, searched, taken from; and what is refused."""

import io
import shutil
import threading

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import reidlib
from reidlib.files import listed
from reidlib.gallery import changes, search
from reidlib.gallery.gallery import Gallery
from reidlib.gallery.lance import LanceGallery, write_lance
from reidlib.gallery.model import load
from reidlib.gallery.pictures import picture_files
from reidlib.gallery.store import writing
from reidlib.models.description import Description
from reidlib.models.embedder import new_embedder, save_embedder
from tests.crops import SMALL


@pytest.fixture(scope="module")
def whole(tmp_path_factory, model, crops):
    return Gallery.create(tmp_path_factory.mktemp("gallery") / "gallery", model, crops)


@pytest.fixture(scope="module", params=["folder", "LanceDB"])
def either(request, whole, model, tmp_path_factory):
    """The gallery in its folder, and the same in a table."""
    if request.param == "folder":
        return whole
    address = f"lance://{tmp_path_factory.mktemp('lance')}/people"
    write_lance(whole, address)
    return LanceGallery(address, model=model)


@pytest.fixture
def own(whole, tmp_path, model):
    """A gallery of one's own to change."""
    return Gallery(shutil.copytree(whole.folder, tmp_path / "gallery"), model=model)


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_gallery_holds_vectors_mapped_into_memory(whole, model, crops):
    assert isinstance(whole.vectors, np.memmap)
    np.testing.assert_allclose(whole.vectors, model.embed(picture_files(crops)), atol=1e-5)


def test_a_gallery_holds_rows_and_thumbnails(either, crops):
    files = picture_files(crops)
    assert len(either) == 24
    rows = either.rows
    assert rows["path"].tolist() == list(map(str, files))
    assert rows["camera"].tolist() == [file.parts[-3] for file in files]
    assert rows["tracklet"].tolist() == [file.parts[-2] for file in files]
    for row in (0, 7, 23):
        small = Image.open(io.BytesIO(either.thumbnail(row)))
        assert small.format == "JPEG" and small.size == (16, 32)
        expected = np.asarray(Image.open(files[row]).resize((16, 32), Image.Resampling.BILINEAR), float)
        assert np.abs(np.asarray(small, float) - expected).mean() < 6
    with pytest.raises(ValueError, match=r"expected rows 0\.\.23, found 24"):
        either.thumbnail(24)


def test_the_person_in_a_picture_is_found_first_on_the_other_camera(either, crops):
    for file in picture_files(crops / "door"):
        answers = either.search(file, k=3, cameras=["yard"])
        assert answers["tracklet"][0] == file.parts[-2]
        assert answers["rank"].tolist() == [1, 2, 3] and answers["tracklet"].is_unique
        assert answers["similarity"].is_monotonic_decreasing and set(answers["camera"]) == {"yard"}


def test_vectors_pictures_folders_and_rows_search_alike(either, model, crops):
    files = picture_files(crops / "yard/person2")
    found = either.search(crops / "yard/person2", k=4, per_tracklet=False)
    pd.testing.assert_frame_equal(found, either.search(model.embed(files), k=4, per_tracklet=False), atol=1e-5)
    assert (
        found["row"][found["rank"] == 1].tolist()
        == either.rows.index[either.rows["path"].isin(map(str, files))].tolist()
    )
    row = int(found["row"][0])
    others = either.search(row, k=3, per_tracklet=False)
    expected = found["row"][(found["query"] == 0) & (found["row"] != row)].tolist()
    assert others["row"].tolist() == expected and set(others["query"]) == {row}
    without_own_tracklet = either.search([row, 0], k=11)
    assert len(without_own_tracklet) == 22 and row not in without_own_tracklet["row"].to_numpy()
    assert either.rows["tracklet"][row] in without_own_tracklet["tracklet"].to_numpy()  # on the other camera


def test_tracklets_are_searched_by_their_averages_if_asked_for(whole, crops):
    for file in picture_files(crops / "door")[::5]:
        answers = whole.search(file, k=3, cameras=["yard"], per_tracklet="average")
        mine = whole.vectors[
            whole.rows.index[(whole.rows["camera"] == "yard") & (whole.rows["tracklet"] == file.parts[-2])]
        ]
        mean = mine.sum(axis=0) / np.linalg.norm(mine.sum(axis=0))
        assert answers["tracklet"][0] == file.parts[-2] and answers["tracklet"].is_unique and len(answers) == 3
        assert answers["similarity"][0] == pytest.approx(float(mean @ whole.model.embed([file])[0]), abs=1e-5)
    assert len(whole.search([0, 1], k=20, per_tracklet="average")) == 22  # all tracklets but their own
    later = whole.search(0, since=0, per_tracklet="average")  # of times that nothing has
    assert later.empty and list(later) == list(answers)


def test_what_cannot_be_searched_for_is_refused(either, crops):
    for what, words in (
        (np.ones((1, 3), np.float32), "expected vectors of length 256, found 3; embed with the model model"),
        (99, r"expected rows 0\.\.23, found 99"), ([0, -1], "found -1"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            either.search(what)
    with pytest.raises(ValueError, match="expected cameras among door, yard; found roof"):
        either.search(0, cameras=["roof"])
    assert either.search(0, since="2024-01-01").empty  # no row's time is known


def test_times_limit_the_answers(model, crops, tmp_path):
    files = picture_files(crops)
    rows = pd.DataFrame({"path": map(str, files), "time": np.arange(24.0)})
    gallery = Gallery.create(tmp_path / "gallery", model, files, rows=rows)
    assert sorted(gallery.search(0, since=5, until="7", per_tracklet=False)["row"]) == [5, 6, 7]


def test_pictures_are_added_once_and_removed(own, crops, model, tmp_path):
    assert own.add(crops) == (0, 24, {}) and len(own) == 24
    more = shutil.copytree(crops / "door", tmp_path / "more/roof")
    assert own.add(tmp_path / "more") == (12, 24 - 24, {})
    assert own.rows["camera"].tolist()[24:] == ["roof"] * 12
    np.testing.assert_allclose(own.vectors[24:], own.vectors[:12], atol=1e-6)
    thumbnails = [own.thumbnail(row) for row in range(36)]
    assert thumbnails[24:] == thumbnails[:12] and own.search(picture_files(more)[0])["similarity"][0] > 0.9999
    vectors = np.array(own.vectors)
    assert own.remove([crops / "door/person1", str(crops / "yard/person0/000.png")]) == 3
    assert own.remove([0, 32]) == 2
    left = [row for row in range(36) if row not in (2, 3, 12)]
    left = [row for number, row in enumerate(left) if number not in (0, 32)]
    np.testing.assert_array_equal(own.vectors, vectors[left])
    assert [own.thumbnail(row) for row in range(31)] == [thumbnails[row] for row in left]
    with pytest.raises(ValueError, match=r"expected some of its 31 rows or paths, found .*nothing"):
        own.remove([crops / "nothing"])
    assert own.remove(range(31)) == 31 and len(own) == 0
    assert own.search(model.embed(crops)).empty
    assert own.add(crops).added == 24 and len(Gallery(own.folder)) == 24
    assert len(list(own.folder.iterdir())) == 2  # gallery.json, and the one version


def test_what_killed_writers_left_is_swept_by_the_next(own):
    for name in (".0a1b.2c3d.partial", "0123456789ab"):
        (own.folder / name).mkdir()
        (own.folder / name / "vectors.npy").touch()
    assert len(Gallery(own.folder)) == 24
    own.remove([0])
    assert sorted(path.name for path in own.folder.iterdir()) == sorted(["gallery.json", own.manifest.version])


def test_who_has_it_open_keeps_what_was_opened(own, crops):
    reader = Gallery(own.folder, model=own.model)
    own.remove(range(12))
    assert len(reader) == 24 and len(own) == 12
    assert len(reader.search(reader.vectors[:2], k=24, per_tracklet=False)) == 48
    assert len(reader.thumbnail(0)) > 100


def test_an_index_is_kept_while_it_serves_and_built_anew_where_rows_went(own, crops, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "EXACT_UP_TO", 2)
    monkeypatch.setattr(reidlib.gallery.gallery, "EXACT_UP_TO", 2)
    exact = own.search(own.vectors[:3], k=24)
    own.build_index("hnsw")
    facts = own.manifest.index
    assert (facts.kind, facts.rows, facts.recall) == ("hnsw", 24, 1.0)
    pd.testing.assert_frame_equal(own.search(own.vectors[:3], k=24), exact, atol=1e-6)
    shutil.copytree(crops / "door", tmp_path / "more/roof")
    own.add(tmp_path / "more")
    assert own.manifest.index == facts and len(own) == 36
    assert len(own.search(own.vectors[:1], k=40, per_tracklet=False)) == 36
    monkeypatch.setattr(changes, "EXACT_UP_TO", 5)
    own.add(tmp_path / "more")  # nothing new, but half as many rows outside the index as in it
    assert own.manifest.index == facts
    shutil.copytree(crops / "door", tmp_path / "again/wall")
    own.add(tmp_path / "again")
    assert (own.manifest.index.kind, own.manifest.index.rows) == ("hnsw", 48)
    own.remove([0])
    assert (own.manifest.index.kind, own.manifest.index.rows) == ("hnsw", 47)
    exact, found = (own.search(own.vectors[:1], exact=exact)["row"].tolist() for exact in (True, False))
    assert sorted(found[:4]) == sorted(exact[:4])  # three are one picture: rounding orders them
    own.build_index("exact")
    assert own.manifest.index is None and Gallery(own.folder).manifest == own.manifest
    assert not list(own.folder.rglob("index.faiss"))


def test_a_gallery_of_another_model_is_refused_by_name(whole, model, crops, tmp_path):
    save_embedder(new_embedder(SMALL, seed=2), tmp_path / "other.safetensors", Description(architecture=SMALL))
    other = load(tmp_path / "other.safetensors")
    words = (
        rf"a gallery of the model model \(icsr on crops\) \[{model.fingerprint}\], not of other \[{other.fingerprint}"
    )
    for use in (lambda: Gallery(whole.folder, model=other), lambda: Gallery.create(whole.folder, other, crops)):
        with pytest.raises(ValueError, match=words):
            use()


def test_the_model_is_found_where_it_lay(model, model_file, crops, tmp_path):
    path = shutil.copy(model_file, tmp_path / "moved.safetensors")
    Gallery.create(tmp_path / "gallery", reidlib.load(path), crops)
    assert Gallery(tmp_path / "gallery").model.fingerprint == model.fingerprint
    save_embedder(new_embedder(SMALL, seed=2), path)
    with pytest.raises(ValueError, match="a gallery of the model moved"):
        Gallery(tmp_path / "gallery").search(crops)
    path.unlink()
    with pytest.raises(ValueError, match=r"moved .* is not at .*moved.safetensors any more"):
        Gallery(tmp_path / "gallery").search(crops)


def test_pictures_without_paths_need_names(model, tmp_path):
    arrays = np.zeros((2, 32, 16, 3), np.uint8)
    with pytest.raises(ValueError, match="expected rows"):
        Gallery.create(tmp_path / "gallery", model, arrays)
    with pytest.raises(
        ValueError, match="expected a row with a path of its own for each of 2 pictures, found 2, twice: a"
    ):
        Gallery.create(tmp_path / "gallery", model, arrays, rows=pd.DataFrame({"path": ["a", "a"]}))
    assert not (tmp_path / "gallery").exists()
    assert len(Gallery.create(tmp_path / "gallery", model, arrays, rows=pd.DataFrame({"path": ["a", "b"]}))) == 2


def test_bad_pictures_leave_nothing_or_are_left_out(own, model, crops, tmp_path):
    folder = shutil.copytree(crops, tmp_path / "crops")
    (folder / "door/person0/000.png").write_bytes(b"no picture")
    before = content(own.folder)
    with pytest.raises(ValueError, match=r"1 of 24 pictures cannot be read: \n.*000.png: no picture"):
        own.add(folder)
    assert content(own.folder) == before
    with pytest.raises(ValueError, match="1 of 24"):
        Gallery.create(tmp_path / "new", model, folder)
    assert not (tmp_path / "new").exists()
    with pytest.warns(UserWarning, match="left out: 1 of 24"):
        added = own.add(folder, on_bad_picture="skip")
    assert (
        added.added == 23
        and list(added.problems) == [0]
        and own.rows["path"][24] == str(folder / "door/person0/001.png")
    )


def test_two_writers_exclude_each_other(own, crops):
    with writing(own.folder):
        for change in (lambda: own.add(crops), lambda: own.remove([0]), lambda: own.build_index("ivf")):
            with pytest.raises(OSError, match="another process writes to this gallery"):
                change()
    assert own.remove([0]) == 1


def test_of_many_writers_at_once_each_wins_or_is_told(own):
    """As many rows are gone as writers succeeded; a reader at any time sees a whole gallery."""
    outcomes = []

    def write():
        try:
            outcomes.append(Gallery(own.folder).remove([0]))
        except OSError:
            outcomes.append(0)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        gallery = Gallery(own.folder)
        assert len(gallery.rows) == len(gallery.vectors) == len(gallery)
    assert len(Gallery(own.folder)) == 24 - sum(outcomes) and sum(outcomes) >= 1


@pytest.mark.parametrize("name", ["vectors.npy", "rows.parquet", "thumbnails.bin", "gallery.json"])
def test_a_gallery_cut_short_is_refused_with_the_file_and_what_to_do(own, name):
    (path,) = own.folder.rglob(name)
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], None):
        path.unlink()
        if broken is not None:
            path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"restore the gallery from a copy|no gallery.json; make one") as caught:
            Gallery(own.folder)
        assert listed([path.name]) in str(caught.value)
        path.write_bytes(whole)
    assert len(Gallery(own.folder)) == 24


def test_damaged_rows_are_found_when_they_are_read(own):
    (path,) = own.folder.rglob("rows.parquet")
    data = bytearray(path.read_bytes())
    data[40] ^= 255
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"rows.parquet: damaged .*restore the gallery"):
        Gallery(own.folder).search(own.vectors[:1])


def test_a_full_disk_leaves_the_gallery_as_it_was(own, crops, tmp_path, monkeypatch):
    shutil.copytree(crops / "door", tmp_path / "more/roof")
    before = content(own.folder)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    with pytest.raises(OSError, match=r"No space left on device: .* was not written and nothing was left behind; free"):
        own.add(tmp_path / "more")
    assert content(own.folder) == before and len(Gallery(own.folder).rows) == 24


def test_a_place_that_cannot_be_written_is_named(model, crops, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match=r"the gallery .*file/gallery cannot be made there; choose another place"):
        Gallery.create(tmp_path / "file/gallery", model, crops)


def test_what_is_no_gallery_is_refused(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ValueError, match=r"expected a gallery, found no gallery.json; make one: reidlib index"):
            Gallery(place)
    (tmp_path / "gallery.json").write_text('{"format": 2}')
    with pytest.raises(ValueError, match="not a gallery of this version of reidlib"):
        Gallery(tmp_path)
