"""From an archive to arrays and tables: right, whole, in an order that tells nothing, or not at all."""

import errno
import os
import shutil
import warnings
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.archives.archive import Contents, Entry, Listing
from reidlib.archives.decode import decode
from reidlib.archives.table import image_id, image_table
from reidlib.archives.unpacking import find_archives, unpack
from reidlib.images.identities import read_identities
from reidlib.images.names import camera_names, read_names
from reidlib.images.split import PIXELS_FILE, ROWS, ROWS_FILE, SPLITS, TIMES, Split, open_split
from reidlib.settings import arguments

OPTIONS = {"height_px": 16, "width_px": 8, "on_bad_image": "error", "max_megapixels": 1.0, "workers": 2}


def market(make_image, *, people: int = 4, top: str = "Set/") -> dict[str, bytes]:
    files = {}
    for person in range(people):
        for folder, first in (("bounding_box_train", 1), ("query", 100), ("bounding_box_test", 100)):
            for camera in (1, 2, 4):
                name = f"{top}{folder}/{first + person:04d}_c{camera}s1_{person:06d}_01.jpg"
                files[name] = make_image(len(files), "PNG" if person == 2 else "JPEG")
    return files


def unpacked(tmp_path: Path, *, reader: str = "synthetic", **options) -> dict[str, float]:
    files = ("raw", "images", "identities.parquet", "names.parquet")
    return unpack(*(tmp_path / file for file in files), reader=reader, **{**OPTIONS, **options})


def splits_of(tmp_path: Path) -> dict[str, Split]:
    return {split: open_split(tmp_path / "images" / split) for split in SPLITS}


def every_image(tmp_path: Path) -> pd.Series:
    return pd.concat([split.ids for split in splits_of(tmp_path).values()])


def assert_same_artifacts(tmp_path: Path) -> None:
    files = [f"images/{split}/{name}" for split in SPLITS for name in (PIXELS_FILE, ROWS_FILE)]
    for file in (*files, "identities.parquet"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def nothing_left(tmp_path: Path) -> bool:
    return [path.name for path in tmp_path.iterdir()] == ["raw"]


def fails(tmp_path: Path, message: str, **options) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        unpacked(tmp_path, **options)
    assert nothing_left(tmp_path)


def test_market_layout_end_to_end(tmp_path: Path, make_image, make_zip) -> None:
    files = market(make_image)
    junk = {"Set/bounding_box_test/-1_c1s1_000001_01.jpg": b"never read", "Set/bounding_box_test/Thumbs.db": b""}
    make_zip(tmp_path / "raw" / "Set.zip", {**files, **junk})
    (tmp_path / "raw" / ".gitignore").touch()
    assert unpacked(tmp_path) == {
        "train_images": 12,
        "query_images": 12,
        "gallery_images": 12,
        "cameras": 3,
        "bad_images": 0,
        "junk_dropped": 1,
    }
    identities = read_identities(tmp_path / "identities.parquet", among=every_image(tmp_path)).set_index("image")
    assert len(every_image(tmp_path)) == len(files) == len(identities)
    by_id = {blake2b(name.encode(), digest_size=8).hexdigest(): name for name in files}
    for split, folder in (("train", "bounding_box_train"), ("query", "query"), ("gallery", "bounding_box_test")):
        images, rows = splits_of(tmp_path)[split].images, splits_of(tmp_path)[split].rows
        assert "identity" not in rows.columns
        mine = sorted(identifier for identifier, name in by_id.items() if f"/{folder}/" in name)
        assert rows["image"].tolist() == mine
        for row, identifier in enumerate(mine):
            name = by_id[identifier]
            np.testing.assert_array_equal(
                images[row], decode(files[name], height_px=16, width_px=8, max_megapixels=1.0)
            )
            stem = name.rpartition("/")[2]
            assert rows["camera"][row] == int(stem[6]) - 1
            assert identities.loc[identifier, "identity"] == int(stem[:4])
            assert identities.loc[identifier, "name"] == name


def test_images_are_resized_as_told(tmp_path: Path, make_image, make_zip) -> None:
    files = market(make_image)
    make_zip(tmp_path / "raw" / "Set.zip", files)
    unpacked(tmp_path, interpolation="bicubic")
    split = splits_of(tmp_path)["train"]
    by_id = {blake2b(name.encode(), digest_size=8).hexdigest(): data for name, data in files.items()}
    for row, identifier in enumerate(split.ids):
        for kind in ("bicubic", "bilinear"):
            expected = decode(by_id[identifier], height_px=16, width_px=8, max_megapixels=1.0, interpolation=kind)
            assert np.array_equal(split.images[row], expected) == (kind == "bicubic")


@pytest.mark.parametrize("seed", [1, 2])
def test_the_archives_own_order_kind_and_threads_change_nothing(
    tmp_path: Path, make_image, make_zip, make_tar, seed
) -> None:
    files = market(make_image)
    names = [list(files)[place] for place in np.random.default_rng(seed).permutation(len(files))]
    make_zip(tmp_path / "a" / "raw" / "Set.zip", files)
    make_tar(tmp_path / "b" / "raw" / "Other.tar.gz", {name: files[name] for name in names})
    assert unpacked(tmp_path / "a", workers=1) == unpacked(tmp_path / "b", workers=3)
    assert_same_artifacts(tmp_path)


def contents_of(names: Mapping[str, bytes]) -> Contents:
    return Contents("a.zip", tuple(sorted(names)), {}, names)


@given(st.permutations(range(12)), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_rows_are_ranks_of_ids_and_know_no_identity(order: list[int], offset: int) -> None:
    names = [f"{number}.jpg" for number in range(12)]
    entries = [Entry(0, name, SPLITS[place % 3], place % 4 - 1, -1, place, place) for place, name in enumerate(names)]
    contents = [contents_of({name: name.encode() for name in names})]
    table = image_table(Listing([entries[place] for place in order]), contents)
    for split in SPLITS:
        rows = table[table["split"] == split]
        assert rows["row"].tolist() == list(range(4))
        assert rows["image"].tolist() == sorted(image_id(name.encode()) for name in names[SPLITS.index(split) :: 3])
    # other identities, the same order
    others = image_table(Listing([entry._replace(identity=offset - entry.frame) for entry in entries]), contents)
    assert others["image"].tolist() == table["image"].tolist()
    assert others["camera"].tolist() == table["camera"].tolist()
    assert set(table.loc[~table["known_camera"], "camera"]) == {3}  # known ones are 0, 1, 2


def test_equal_ids_and_too_many_cameras_are_refused() -> None:
    entry = Entry(0, "a.jpg", "train", 0, -1, -1, 1)
    same = [contents_of({"a.jpg": b"a"}), contents_of({"a.jpg": b"a"})]
    with pytest.raises(ValueError, match=r"of the same name .*a\.jpg, a\.jpg; rename one"):
        image_table(Listing([entry, entry._replace(source=1)]), same)
    with pytest.raises(ValueError, match="40,001 cameras"):
        image_table(Listing([entry._replace(camera=40_000)]), same)
    with pytest.raises(ValueError, match=r"a\.zip, a\.zip: no training images among 1"):
        image_table(Listing([entry._replace(split="query")]), same)


def test_market1501_with_distractors_and_its_warning(tmp_path: Path, make_image, make_zip) -> None:
    make_zip(tmp_path / "raw" / "Market-1501-v15.09.15.zip", market(make_image))
    make_zip(tmp_path / "raw" / "distractors_500k.zip", {f"d/{number}.jpg": make_image(number) for number in range(5)})
    with pytest.warns(UserWarning, match=r"12 / 12 / 17 images .*published: 12,936 / 3,368 / 15,913 or"):
        metrics = unpacked(tmp_path, reader="market1501")
    assert (metrics["gallery_images"], metrics["cameras"]) == (17, 3)
    identities = read_identities(tmp_path / "identities.parquet", among=every_image(tmp_path))
    distractors = identities.loc[identities["name"].str.startswith("d/"), "image"]
    assert set(identities.loc[identities["image"].isin(distractors), "identity"]) == {0}
    gallery = splits_of(tmp_path)["gallery"].rows
    assert set(gallery.loc[gallery["image"].isin(distractors), "camera"]) == {4}  # after camera 4, which is number 3


def test_folder_without_identities(tmp_path: Path, make_image, make_zip) -> None:
    make_zip(
        tmp_path / "raw" / "mine.zip", {f"{camera}/t{n}/{n}.jpg": make_image(n) for camera in "ab" for n in range(3)}
    )
    assert unpacked(tmp_path, reader="folder")["train_images"] == 6
    splits = splits_of(tmp_path)
    assert {name: split.images.shape for name, split in splits.items()} == {
        "train": (6, 16, 8, 3),
        "query": (0, 16, 8, 3),
        "gallery": (0, 16, 8, 3),
    }
    assert sorted(splits["train"].rows["tracklet"]) == list(range(6))
    assert len(read_identities(tmp_path / "identities.parquet")) == 0


def test_folder_with_some_identities(tmp_path: Path, make_image, make_zip) -> None:
    files = {f"{camera}/{number}.jpg": make_image(number) for camera in "ab" for number in range(3)}
    make_zip(tmp_path / "raw" / "mine.zip", {**files, "identities.csv": b"path,identity\na/1.jpg,9\nb/2.jpg,0\n"})
    unpacked(tmp_path, reader="folder")
    identities = read_identities(tmp_path / "identities.parquet", among=every_image(tmp_path))
    assert dict(zip(identities["name"], identities["identity"], strict=True)) == {"a/1.jpg": 9, "b/2.jpg": 0}


def test_what_was_read_is_printed_as_a_table(tmp_path: Path, make_image, make_zip, capsys) -> None:
    files = {f"home/me/door/t{number % 2}/{number}.jpg": make_image(number) for number in range(5)}
    files |= {f"home/me/{split}/{camera}/9.jpg": make_image(9) for split in ("query", "gallery") for camera in "xy"}
    files |= {"home/me/film.mp4": b"no picture", "home/me/door/notes.txt": b"", "home/me/door/more.txt": b""}
    table = "path,identity\nquery/x/9.jpg,3\nquery/y/9.jpg,4\ngallery/x/9.jpg,4\ngallery/y/9.jpg,3\ndoor/t0/2.jpg,3\n"
    make_zip(tmp_path / "raw" / "mine.zip", {**files, "identities.csv": table.encode()})
    unpacked(tmp_path, reader="folder")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert " ".join(lines[0]) == "mine.zip: 9 images, 3 cameras, 2 people in 5 images"
    assert lines[1:5] == [
        ["camera", "train", "query", "gallery", "tracklets", "identified"],
        ["door", "5", "0", "0", "2", "1"],
        ["x", "0", "1", "1", "0", "2"],
        ["y", "0", "1", "1", "0", "2"],
    ]
    notes = [" ".join(line) for line in lines[5:]]
    assert notes == [
        "- folders inside a camera's are kept as tracklets: whom a tracker followed there, not people by their names",
        "- left out, no pictures (.txt 2, .mp4 1): home/me/door 2, home/me 1",
    ]


def test_the_table_of_a_known_dataset_tells_junk_and_unused_folders(tmp_path, make_image, make_zip, capsys) -> None:
    files = market(make_image) | {f"Set/gt_bbox/{number}.jpg": b"" for number in range(3)}
    make_zip(tmp_path / "raw" / "Set.zip", files | {"Set/bounding_box_test/-1_c1s1_000001_01.jpg": b""})
    unpacked(tmp_path)
    head, _, *cameras, note = capsys.readouterr().out.splitlines()
    assert head == "Set.zip: 36 images, 3 cameras, 8 people in 36 images"
    assert [line.split() for line in cameras] == [[camera, "4", "4", "4", "0", "12"] for camera in "124"]
    assert note == "  - left out, pictures of which 1 are junk by their names: Set/gt_bbox 3, Set/bounding_box_test 1"


def test_many_cameras_are_added_up_and_one_is_told(tmp_path, make_image, make_zip, capsys) -> None:
    image = make_image(1)
    make_zip(
        tmp_path / "raw" / "mine.zip", {f"c{number:03d}/{n}.jpg": image for number in range(103) for n in range(40)}
    )
    unpacked(tmp_path, reader="folder")
    lines = capsys.readouterr().out.splitlines()
    assert lines[101].split()[:2] == ["c099", "40"] and lines[102].split() == ["3", "more", "120", "0", "0", "0", "0"]
    make_zip(tmp_path / "raw" / "mine.zip", {f"shop/hall/{n}.jpg": image for n in range(3)})
    unpacked(tmp_path, reader="folder")
    assert "  - one camera alone, hall: nobody can be found across cameras" in capsys.readouterr().out.splitlines()


def test_names_are_kept_apart_and_read_in_order(tmp_path: Path, make_image, make_zip) -> None:
    files = {f"door/t{number}/{number}.jpg": make_image(number) for number in range(3)} | {"yard/4.jpg": make_image(4)}
    make_zip(tmp_path / "raw" / "mine.zip", files)
    unpacked(tmp_path, reader="folder")
    rows = splits_of(tmp_path)["train"].rows
    names = read_names(tmp_path / "names.parquet", among=rows["image"])
    assert names["image"].tolist() == rows["image"].tolist()
    assert dict(zip(names["path"], zip(names["camera"], names["tracklet"], strict=True), strict=True)) == {
        "door/t0/0.jpg": ("door", "t0"), "door/t1/1.jpg": ("door", "t1"), "door/t2/2.jpg": ("door", "t2"),
        "yard/4.jpg": ("yard", ""),
    }  # fmt: skip
    assert camera_names(rows, names) == {0: "door", 1: "yard"}
    with pytest.raises(ValueError, match=r"names of all 1 images, 1 have none \(first: 0{16}\); run the stage unzip"):
        read_names(tmp_path / "names.parquet", among=pd.Series(["0" * 16]))


@pytest.mark.parametrize("top", ["", "a/b/"])
def test_what_cannot_match_is_told_before_training(tmp_path: Path, make_image, make_zip, top: str) -> None:
    def archive(query: str, gallery: str, who: int) -> None:
        files = {f"{top}train/x/1.jpg": make_image(1), f"{top}{query}": make_image(2), f"{top}{gallery}": make_image(3)}
        table = f"path,identity\n{query},5\n{gallery},{who}\n".encode()
        make_zip(tmp_path / "raw" / "mine.zip", {**files, f"{top}identities.csv": table})

    archive("query/x/1.jpg", "gallery/y/1.jpg", 6)
    fails(tmp_path, "1 people in query, 1 in gallery, nobody in both, so that nothing can be measured", reader="folder")
    archive("query/x/1.jpg", "gallery/x/2.jpg", 5)
    with pytest.warns(UserWarning, match=r"none of the 1 queries .* on another camera.*dataset\.camera_labels=false"):
        unpacked(tmp_path, reader="folder")
    archive("query/x/1.jpg", "gallery/y/1.jpg", 5)
    unpacked(tmp_path, reader="folder")


def test_pictures_that_cannot_be_read_are_named_by_folder_and_never_most_of_them(
    tmp_path: Path, make_image, make_zip
) -> None:
    heic = b"\0\0\0\x18ftypheic" + bytes(20)
    files = {f"{camera}/{number}.jpg": make_image(number) for camera in "abc" for number in range(6)}
    files |= {f"a/{number}": heic for number in range(4)} | {"b/7.heic": heic}
    make_zip(tmp_path / "raw" / "mine.zip", files)
    fails(
        tmp_path,
        r"5 of 23 images cannot be read \(a 4, b 1\):\n  a/0: HEIC, a format that is not read",
        reader="folder",
    )
    with pytest.warns(UserWarning, match=r"left out: 5 of 23"):
        assert unpacked(tmp_path, reader="folder", on_bad_image="skip")["train_images"] == 18
    for file in ("images", "identities.parquet", "names.parquet"):
        shutil.rmtree(tmp_path / file) if file == "images" else (tmp_path / file).unlink()
    make_zip(tmp_path / "raw" / "mine.zip", files | {f"d/{number}.jpg": heic for number in range(2)})
    fails(tmp_path, "no image is left in camera d; mend the archive", reader="folder", on_bad_image="skip")
    make_zip(tmp_path / "raw" / "mine.zip", files | {f"a/{number}.avif": heic for number in range(20)})
    fails(tmp_path, "that is over 50 %, too many to leave out", reader="folder", on_bad_image="skip")


def test_every_bad_image_is_named_in_one_error(tmp_path: Path, make_image, make_zip) -> None:
    files = market(make_image)
    names = sorted(files)
    files[names[0]] = b"not an image"
    files[names[7]] = files[names[7]][:50]
    files[names[20]] = make_image(0, size=(1100, 1000))
    make_zip(tmp_path / "raw" / "Set.zip", files)
    with pytest.raises(ValueError, match="3 of 36 images cannot be read") as caught:
        unpacked(tmp_path)
    assert nothing_left(tmp_path)
    message = str(caught.value)
    assert f"{names[0]}: no picture of a format that is read" in message
    assert f"{names[7]}: cannot be decoded" in message
    assert f"{names[20]}: 1100 x 1000 pixels, over max_megapixels = 1" in message
    assert "set unzip.on_bad_image to skip" in message


def test_skipped_images_are_as_if_they_had_never_been_there(tmp_path: Path, make_image, make_zip) -> None:
    files = market(make_image)
    bad = sorted(files)[3::9]
    make_zip(tmp_path / "a" / "raw" / "Set.zip", {**files, **dict.fromkeys(bad, b"broken")})
    make_zip(tmp_path / "b" / "raw" / "Set.zip", {name: data for name, data in files.items() if name not in bad})
    with pytest.warns(UserWarning, match=r"left out: 4 of 36 images cannot be read"):
        skipped = unpacked(tmp_path / "a", on_bad_image="skip")
    assert skipped == {**unpacked(tmp_path / "b"), "bad_images": 4}
    assert_same_artifacts(tmp_path)


def test_a_split_of_bad_images_alone_is_an_error_even_when_skipping(tmp_path: Path, make_image, make_zip) -> None:
    files = {name: b"broken" if "/query/" in name else data for name, data in market(make_image).items()}
    make_zip(tmp_path / "raw" / "Set.zip", files)
    fails(tmp_path, "no image is left in query", on_bad_image="skip")


def test_raw_folders_without_one_archive(tmp_path: Path, make_image, make_zip) -> None:
    raw = tmp_path / "raw"
    with pytest.raises(FileNotFoundError, match="raw: no such folder; make it and put"):
        unpacked(tmp_path)
    raw.mkdir()
    fails(tmp_path, r"raw: no archive \(\.zip.*found: nothing; put the dataset's archive there")
    (raw / "bounding_box_train").mkdir()
    (raw / "set.rar").touch()
    fails(tmp_path, r"no archive .* for synthetic; found: bounding_box_train, set\.rar; .*not unpacked")
    make_zip(raw / "a.zip", market(make_image))
    make_zip(raw / "b.zip", market(make_image))
    fails(tmp_path, r"2 archives, expected one: a\.zip, b\.zip; leave")
    (raw / "b.zip").rename(raw / "distractors_500k.zip")
    fails(tmp_path, "2 archives, expected one")  # synthetic knows no distractors
    assert find_archives(raw, reader="market1501") == [raw / "a.zip", raw / "distractors_500k.zip"]


def test_hostile_and_foreign_archives_leave_nothing(tmp_path: Path, make_image, make_zip) -> None:
    files = market(make_image)
    path = make_zip(tmp_path / "raw" / "Set.zip", {**files, "../../evil.jpg": b""})
    fails(tmp_path, "evil.jpg' leads out of the archive")
    make_zip(path, {"Cats/1.jpg": make_image(1)})
    fails(tmp_path, r"synthetic: no images in 'bounding_box_train' in Set\.zip; found: Cats \(1 images\)")
    make_zip(path, files)
    path.write_bytes(path.read_bytes()[:-100])
    fails(tmp_path, r"Set\.zip: truncated or damaged")
    make_zip(path, files)
    fails(tmp_path, "holds over 107 bytes; refused as a zip bomb", max_unpacked_gib=1e-7)
    fails(tmp_path, r"unpacks to over 0\.1 times its size; refused as a zip bomb", max_unpacking_ratio=0.1)
    inner = path.read_bytes()
    make_zip(path, {"inner.zip": inner})
    fails(tmp_path, r"synthetic: no images in 'bounding_box_train' in Set\.zip; found: no images, but inner\.zip")
    make_zip(path, {**files, sorted(files)[0]: inner})
    fails(tmp_path, r"no picture of a format that is read \([\d,]+ bytes, beginning b'PK")
    make_zip(path, files)
    fails(tmp_path, r"dataset\.reader: expected one of cuhk03, .*, veri776; found 'imagenet'", reader="imagenet")


def test_a_full_disk_leaves_nothing_and_names_the_artifact(tmp_path: Path, make_image, make_zip, monkeypatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    make_zip(tmp_path / "raw" / "Set.zip", market(make_image))
    monkeypatch.setattr(os, "pwrite", full)
    fails(tmp_path, r"No space left[^;]*images/gallery was not written and nothing was left behind; free some space")


def test_what_was_there_survives_a_failed_run(tmp_path: Path, make_image, make_zip) -> None:
    path = make_zip(tmp_path / "raw" / "Set.zip", market(make_image))
    unpacked(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*") if file.parent != path.parent}
    make_zip(path, {**market(make_image), sorted(market(make_image))[0]: b"broken"})
    with pytest.raises(ValueError, match="1 of 36"):
        unpacked(tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.*") if file.parent != path.parent} == before


def test_no_warnings_on_a_clean_archive(tmp_path: Path, make_image, make_zip) -> None:
    make_zip(tmp_path / "raw" / "Set.zip", market(make_image))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unpacked(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height_px": 0}, r"unzip\.height_px: .*greater than or equal to 1"),
        ({"width_px": 8.5}, r"unzip\.width_px: .*integer"),
        ({"on_bad_image": "warn"}, r"unzip\.on_bad_image: .*'error' or 'skip'"),
        ({"max_megapixels": 0.0}, r"unzip\.max_megapixels: .*greater than 0"),
        ({"max_unpacking_ratio": -1.0}, r"unzip\.max_unpacking_ratio: .*greater than 0"),
        ({"wrokers": 2}, r"unzip\.wrokers"),
    ],
)
def test_settings_that_mean_nothing_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arguments({**OPTIONS, **change}, of=unpack, where="unzip", given=("reader",))


def test_times_are_kept_where_some_are_known(tmp_path: Path, make_image, make_zip) -> None:
    files = {f"{camera}/t/{n}.jpg": make_image(n) for camera in "ab" for n in range(3)}
    make_zip(tmp_path / "without" / "raw" / "mine.zip", files)
    make_zip(tmp_path / "with" / "raw" / "mine.zip", {**files, "times.csv": b"path,time\na/t/1.jpg,5\nb/t/2.jpg,0.5\n"})
    for name in ("with", "without"):
        unpacked(tmp_path / name, reader="folder")
    plain, timed = (splits_of(tmp_path / name)["train"] for name in ("without", "with"))
    assert list(plain.rows) == list(ROWS) and list(timed.rows) == [*ROWS, *TIMES]
    assert timed.rows[list(ROWS)].equals(plain.rows)
    known = dict(zip(timed.ids, timed.times.tolist(), strict=True))
    expected = {image_id(b"a/t/1.jpg"): 5.0, image_id(b"b/t/2.jpg"): 0.5}
    assert {image: time for image, time in known.items() if time == time} == expected
    assert np.isnan(plain.times).all() and (timed.sequences == -1).all()
    apart = open_split(tmp_path / "with" / "images" / "train", camera_labels=False)
    assert np.isnan(apart.times).all() and (apart.tracklets == timed.tracklets).all()
