"""Readers: names inside an archive -> splits, cameras, frames, identities."""

import math
import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.archives.archive import Contents, Entry, Listing, list_archive
from reidlib.archives.readers import PUBLISHED, READERS, warn_of_unusual_counts

QUICK = settings(max_examples=40, deadline=None)
MARKET = ("bounding_box_train", "query", "bounding_box_test")
VERI = ("image_train", "image_query", "image_test")


def contents(*names: str, texts: dict[str, str] | None = None, file: str = "archive.zip") -> Contents:
    every = tuple(sorted({*names, *(texts or {})}))
    return Contents(file, every, texts or {}, {name: name.encode() for name in every})


def read(reader: str, *names: str, texts: dict[str, str] | None = None) -> dict[str, Entry]:
    return {entry.name: entry for entry in READERS[reader]([contents(*names, texts=texts)]).entries}


def facts(entry: Entry) -> tuple[str, int, int, int, int | None]:
    return entry.split, entry.camera, entry.tracklet, entry.frame, entry.identity


@pytest.mark.parametrize(
    ("reader", "folders", "example", "camera", "frame", "identity"),
    [
        ("market1501", MARKET, "0002_c1s1_000451_03.jpg", 0, 451, 2),
        ("synthetic", MARKET, "0012_c17s1_000451_03.jpg", 16, 451, 12),
        ("dukemtmc", MARKET, "0002_c8_f0044158.jpg", 7, 44158, 2),
        ("msmt17", MARKET, "0000_c15_0012.jpg", 14, -1, 1),
        ("personx", MARKET, "0001_c3s1_07.jpg", 2, -1, 1),
        ("veri776", VERI, "0001_c020_00016450_0.jpg", 19, 16450, 1),
        ("cuhk03", MARKET, "0001_c2_1.png", 1, -1, 1),
        ("market_names", MARKET, "0012_c17s1_000451_03.jpg", 16, 451, 12),
        ("market_names", MARKET, "12_c8_12-30.5.png", 7, -1, 12),
    ],
)
@pytest.mark.parametrize("top", ["", "Some-Set-v1/", "a/b/"])
def test_named_layouts(reader, folders, example, camera, frame, identity, top: str) -> None:
    names = [f"{top}{folder}/{example}" for folder in folders]
    found = read(reader, *names, f"{top}gt_bbox/{example}", f"{top}readme.txt", f"{top}gt_query/0001_good.mat")
    assert set(found) == set(names)
    for name, split in zip(names, ("train", "query", "gallery"), strict=True):
        assert facts(found[name]) == (split, camera, -1, frame, identity)


@given(
    identity=st.integers(-1, 99_999),
    camera=st.integers(1, 6),
    frame=st.integers(0, 999_999),
    box=st.integers(0, 99),
    ending=st.sampled_from(["jpg", "JPG", "png", "jpeg"]),
)
@QUICK
def test_market_names_round_trip(identity, camera, frame, box, ending) -> None:
    stem = f"{identity:04d}" if identity >= 0 else "-1"
    name = f"bounding_box_test/{stem}_c{camera}s3_{frame:06d}_{box:02d}.{ending}"
    others = ["bounding_box_train/0001_c1s1_000001_01.jpg", "query/0001_c1s1_000001_01.jpg"]
    listing = READERS["market1501"]([contents(name, *others)])
    found = {entry.name: entry for entry in listing.entries}
    if identity == -1:
        assert (listing.junk, name in found) == (1, False)
    else:
        assert facts(found[name]) == ("gallery", camera - 1, -1, frame, identity)
        assert listing.junk == 0


@pytest.mark.parametrize("reader", [name for name in READERS if name != "folder"])
def test_another_dataset_is_refused_with_what_was_found(reader) -> None:
    with pytest.raises(ValueError, match=rf"{reader.split('_')[0]}.*archive\.zip.*found: Cats/tabby \(2 images\)"):
        read(reader, "Cats/tabby/1.jpg", "Cats/tabby/2.jpg")
    with pytest.raises(ValueError, match=r"found: nothing \(the archive is empty\)"):
        read(reader)
    with pytest.raises(ValueError, match=r"found: no images, but data\.mat, inner\.zip"):
        read(reader, "data.mat", "inner.zip")


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(ValueError, match=r"market1501: no images in 'query' in archive\.zip; found: M/bounding_box_t"):
        read(
            "market1501", "M/bounding_box_train/0001_c1s1_000001_01.jpg", "M/bounding_box_test/0001_c1s1_000001_01.jpg"
        )


def test_the_same_folder_twice_is_refused() -> None:
    names = [f"{top}/{folder}/0001_c1s1_000001_01.jpg" for top in "ab" for folder in MARKET]
    with pytest.raises(ValueError, match=r"more than once: a/bounding_box_train, b/bounding_box_train"):
        read("market1501", *names)


def test_strange_names_are_listed() -> None:
    good = [f"{folder}/0001_c1s1_000001_01.jpg" for folder in MARKET]
    with pytest.raises(
        ValueError, match=r"2 names .* not like '0002_c1s1.*camera from 1 to 6: query/0001_c7.*query/cat"
    ):
        read("market1501", *good, "query/cat.jpg", "query/0001_c7s1_000001_01.jpg")
    duke = [f"{folder}/0001_c1_f0000001.jpg" for folder in MARKET]
    with pytest.raises(ValueError, match="is it another dataset"):
        read("market1501", *duke)


def test_market_with_distractors() -> None:
    main = contents(*[f"{folder}/0001_c6s1_000001_01.jpg" for folder in MARKET])
    listing = READERS["market1501"]([main, contents("d/any name.jpg", "d/readme.txt", file="distractors_500k.zip")])
    assert listing.entries[-1] == Entry(1, "d/any name.jpg", "gallery", -1, -1, -1, 0)
    assert len(listing.entries) == 4
    with pytest.raises(ValueError, match=r"no images in distractors_500k\.zip; found: no images, but readme\.txt"):
        READERS["market1501"]([main, contents("readme.txt", file="distractors_500k.zip")])


def test_personx_cameras() -> None:
    def cameras(*numbers: int) -> list[int]:
        names = [f"{folder}/0001_c{number}s1_x.jpg" for folder in MARKET for number in numbers]
        return sorted({entry.camera for entry in read("personx", *names).values()})

    assert cameras(3, 4, 8, 10, 11, 12) == [0, 1, 2, 3, 4, 5]
    assert cameras(8, 12) == [2, 5]
    assert cameras(1, 2, 3, 4, 5, 6) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="personx: cameras 1, 9; expected 1 to 6"):
        cameras(1, 9)


@pytest.mark.parametrize("cameras", [range(8), range(1, 9), (3, 5)])
def test_market_names_of_any_cameras(cameras) -> None:
    names = [f"{folder}/0001_c{camera}s1_000001_00.jpg" for folder in MARKET for camera in cameras]
    listing = READERS["market_names"]([contents(*names)])
    assert {entry.name: listing.cameras[entry.camera] for entry in listing.entries} == {
        name: re.search("_c([0-9]+)", name)[1] for name in names
    }
    assert min(entry.camera for entry in listing.entries) >= 0


def test_market_names_without_queries_and_with_strange_ones() -> None:
    train = ["bounding_box_train/0001_c1.jpg", "bounding_box_train/0002_c2s1_000007_00.jpg"]
    listing = READERS["market_names"]([contents(*train, "bounding_box_train/-1_c1_x.jpg")])
    assert (len(listing.entries), listing.junk, {entry.split for entry in listing.entries}) == (2, 1, {"train"})
    with pytest.raises(ValueError, match=r"no images in 'bounding_box_test'"):
        read("market_names", *train, "query/0001_c1.jpg")
    with pytest.raises(ValueError, match=r"1 names .* not like '0002_c1.*bounding_box_train/cat\.jpg; .*reader=folder"):
        read("market_names", *train, "bounding_box_train/cat.jpg")
    with pytest.raises(ValueError, match=r"1 queries of identity 0 .*query/0_c1\.jpg; number people from 1"):
        read("market_names", *train, "query/0_c1.jpg", "bounding_box_test/0_c2.jpg")


def test_cuhk03_with_both_kinds() -> None:
    names = [f"cuhk03-np/{kind}/{folder}/0001_c1_1.png" for kind in ("labeled", "detected") for folder in MARKET]
    with pytest.raises(ValueError, match=r"holds both detected, labeled; set dataset\.reader to cuhk03_labelled"):
        read("cuhk03", *names)
    assert {name.split("/")[1] for name in read("cuhk03_labelled", *names)} == {"labeled"}
    assert {name.split("/")[1] for name in read("cuhk03_detected", *names)} == {"detected"}
    assert len(read("cuhk03", *names[:3])) == 3
    with pytest.raises(ValueError, match="cuhk03_detected: no folder detected"):
        read("cuhk03_detected", *names[:3])


def msmt17(*, version: int = 1, top: str = "MSMT17_V1/") -> tuple[list[str], dict[str, str]]:
    train, test = {1: ("train", "test"), 2: ("mask_train_v2", "mask_test_v2")}[version]
    image = "0000_000_01_0303morning_0008_0.jpg"
    names = [f"{top}{train}/0000/{image}", f"{top}{train}/0001/0001_003_15_0303noon_0165_1_ex.jpg"]
    names += [f"{top}{test}/0000/{image}", f"{top}{test}/0000/0000_001_14_0113afternoon_1259_0.jpg"]
    texts = {
        f"{top}list_train.txt": f"0000/{image} 0\n",
        f"{top}list_val.txt": "0001/0001_003_15_0303noon_0165_1_ex.jpg 1\r\n\n",
        f"{top}list_query.txt": f"0000/{image} 0",
        f"{top}list_gallery.txt": "0000/0000_001_14_0113afternoon_1259_0.jpg 0\n",
    }
    return names, texts


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("top", ["", "MSMT17_V1/"])
def test_msmt17_as_released(version: int, top: str) -> None:
    names, texts = msmt17(version=version, top=top)
    listing = READERS["msmt17"]([contents(*names, texts=texts)])
    assert listing.facts == {"msmt17_version": version}
    found = {entry.name: facts(entry) for entry in listing.entries}
    assert found == {
        names[0]: ("train", 0, -1, 8, 1),
        names[1]: ("train", 14, -1, 165, 2),
        names[2]: ("query", 0, -1, 8, 3),  # other people than those of train, whose numbers also begin at 0
        names[3]: ("gallery", 13, -1, 1259, 3),
    }


def test_msmt17_in_market_layout_cannot_know_its_version() -> None:
    listing = READERS["msmt17"]([contents(*[f"{folder}/0000_c1_0.jpg" for folder in MARKET])])
    assert listing.facts == {"msmt17_version": 0}


def test_msmt17_errors() -> None:
    names, texts = msmt17(top="")
    with pytest.raises(ValueError, match=r"msmt17: 1 images named by the lists are not in .*: test/0000/0000_001_14"):
        read("msmt17", *names[:3], texts=texts)
    with pytest.raises(ValueError, match=r"msmt17: no list_query\.txt"):
        read("msmt17", *names, texts={name: text for name, text in texts.items() if name != "list_query.txt"})
    with pytest.raises(ValueError, match=r"list_val\.txt line 2: 'nonsense'; expected 'path identity'"):
        read("msmt17", *names, texts={**texts, "list_val.txt": "\nnonsense\n"})
    with pytest.raises(ValueError, match="name 1 images twice"):
        read("msmt17", *names, texts={**texts, "list_val.txt": texts["list_train.txt"]})
    with pytest.raises(ValueError, match="not both"):
        read("msmt17", *names, *msmt17(version=2, top="")[0], texts=texts)
    with pytest.raises(ValueError, match="not neither"):
        read("msmt17", "images/0000/x.jpg", texts=texts)
    strange = {**texts, "list_train.txt": "0000/cat.jpg 0"}
    with pytest.raises(ValueError, match=r"'train/0000/cat\.jpg' is not like"):
        read("msmt17", *names, "train/0000/cat.jpg", texts=strange)


def test_a_list_twice_or_made_to_take_quadratic_time_is_refused() -> None:
    names, texts = msmt17(top="")
    with pytest.raises(ValueError, match=r"more than once: .*list_gallery\.txt, list_query\.txt.*other/list_val"):
        read("msmt17", *names, texts={**texts, "other/list_val.txt": ""})
    spaces = "a" + " " * 1_000_000 + "b"  # a backtracking pattern would take hours
    with pytest.raises(ValueError, match=r"list_val\.txt line 1: 'a  .*expected 'path identity'"):
        read("msmt17", *names, texts={**texts, "list_val.txt": spaces})
    with pytest.raises(ValueError, match=r"Identities\.csv, identities\.csv in archive\.zip: keep one"):
        read("folder", "a/1.jpg", "b/1.jpg", texts={"identities.csv": "path,identity\n", "Identities.csv": ""})


def test_folder_frames_of_long_names() -> None:
    names = {
        "7": 7,
        "0": 0,
        "x000": 0,
        "0" * 300 + "9": 9,
        "2147483647": 2**31 - 1,
        "2147483648": -1,
        "9" * 300: -1,
        "x": -1,
    }
    names |= {"1" * 4000 + "x": -1, "٣": -1, "a7.b": -1}
    found = read("folder", "b/x.png", *(f"a/{stem}.jpg" for stem in names))
    assert {name: entry.frame for name, entry in found.items() if name != "b/x.png"} == {
        f"a/{stem}.jpg": frame for stem, frame in names.items()
    }


def test_folder_without_splits_is_all_train() -> None:
    found = read("folder", "yard/t2/a7.jpg", "yard/t1/b.png", "yard/t1/deep/c_010.jpg", "entrance/x99999999999.jpg")
    assert {name: facts(entry) for name, entry in found.items()} == {
        "entrance/x99999999999.jpg": ("train", 0, -1, -1, None),  # too large a number for a frame
        "yard/t1/b.png": ("train", 1, 0, -1, None),
        "yard/t1/deep/c_010.jpg": ("train", 1, 1, 10, None),
        "yard/t2/a7.jpg": ("train", 1, 2, 7, None),
    }


def test_folder_splits_share_cameras_but_not_tracklets() -> None:
    found = read("folder", "b/t/1.jpg", "train/a/2.jpg", "query/b/t/3.jpg", "gallery/c/4.jpg", "gallery/a/t/5.jpg")
    assert {name: facts(entry)[:3] for name, entry in found.items()} == {
        "b/t/1.jpg": ("train", 1, 2),
        "train/a/2.jpg": ("train", 0, -1),
        "query/b/t/3.jpg": ("query", 1, 1),
        "gallery/c/4.jpg": ("gallery", 2, -1),
        "gallery/a/t/5.jpg": ("gallery", 0, 0),
    }


def test_folder_splits_in_capitals_are_splits() -> None:
    found = read("folder", "Train/a/1.jpg", "QUERY/a/2.jpg", "Gallery/b/3.jpg")
    assert [entry.split for entry in found.values()] == ["gallery", "query", "train"]


def test_folder_top_folder() -> None:
    assert {entry.camera for entry in read("folder", "shop/a/1.jpg", "shop/b/2.jpg").values()} == {0, 1}
    # one camera whose images lie in it is no top folder
    assert [facts(entry)[1:3] for entry in read("folder", "a/1.jpg", "a/t/2.jpg").values()] == [(0, -1), (0, 0)]


LAYOUTS = {  # what people zip: the folders around and beside these images, and what stands there besides
    "as documented": ("", {}),
    "a top folder": ("shop/", {}),
    "as zip -r writes": ("home/me/crops/", {}),
    "identities.csv above the top folder": ("shop/", {"identities.csv": ""}),
    "identities.csv in the middle": ("home/me/crops/", {"home/me/identities.csv": ""}),
    "identities.csv in the top folder": ("shop/", {"shop/identities.csv": "shop/"}),
}
INSIDE = {  # image, and its split, camera's name, tracklet's name, identity
    "train/door/t1/1.jpg": ("train", "door", "t1", 1),
    "train/yard/2.jpg": ("train", "yard", "", None),
    "query/door/3.jpg": ("query", "door", "", 7),
    "gallery/yard/4.jpg": ("gallery", "yard", "", 7),
    "gallery/yard/5.jpg": ("gallery", "yard", "", 0),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("splits", [True, False])
def test_folder_wrapping_folders_go_whatever_stands_beside_them(layout: str, splits: bool) -> None:
    top, lists = LAYOUTS[layout]
    inside = INSIDE if splits else {name.split("/", 1)[1]: ("train", *found[1:]) for name, found in INSIDE.items()}
    rows = "".join(f"{name},{'' if who is None else who}\n" for name, (_, _, _, who) in inside.items())
    for place in lists or {f"{top}identities.csv": ""}:  # paths from the list's own folder, or from the cameras'
        for start in {"", top.removeprefix(place.rpartition("/")[0] + "/") if "/" in place else top}:
            table = "path,identity\n" + "".join(f"{start}{row}\n" for row in rows.splitlines())
            listing = READERS["folder"]([contents(*(top + name for name in inside), texts={place: table})])
            cameras, tracklets = listing.cameras, {-1: "", **listing.tracklets}
            assert inside == {
                entry.name.removeprefix(top): (
                    *(entry.split, cameras[entry.camera], tracklets[entry.tracklet], entry.identity),
                )
                for entry in listing.entries
            }


def test_folder_stray_images_are_refused_with_their_names() -> None:
    inside = [f"shop/{name}" for name in INSIDE]
    for stray in ("logo.jpg", "shop/logo.jpg", "shop/query/logo.jpg", "other/door/1.jpg"):
        with pytest.raises(ValueError, match=rf"1 of 6 images .* in no camera's folder: {stray}; .* inside shop/, or"):
            read("folder", *inside, stray)
    many = [f"shop/{camera}/{number}.jpg" for camera in ("door", "yard") for number in range(10)]
    with pytest.raises(ValueError, match=r"is shop .* one camera, or are its 2 folders the cameras\? .*shop/logo\.jpg"):
        read("folder", *many, "shop/logo.jpg")
    # a camera whose images lie in it for the greater part, with a tracklet
    assert {entry.camera for entry in read("folder", *many, *(f"shop/{n}.jpg" for n in range(9))).values()} == {0}


@pytest.mark.parametrize(
    "folders",
    [("train", "val", "test"), ("bbox_train", "bbox_test"), ("Training", "query", "gallery", "door"),
     ("train", "test"), ("query_images", "gallery_images"), ("door", "query", "gallery", "val2")],
)  # fmt: skip
@pytest.mark.parametrize("top", ["", "shop/"])
def test_folder_splits_of_other_names_are_no_cameras(folders, top: str) -> None:
    names = [f"{top}{folder}/{camera}/{number}.jpg" for folder in folders for camera in "ab" for number in range(3)]
    strange = [name for name in folders if name not in ("train", "query", "gallery", "door")]
    with pytest.raises(
        ValueError, match=rf"{', '.join(sorted(strange))} in archive\.zip look like splits, not cameras"
    ):
        read("folder", *names)


def test_folder_one_odd_name_is_a_camera() -> None:
    names = [f"{camera}/{number}.jpg" for camera in ("door", "test-bench", "training hall") for number in range(3)]
    assert {entry.camera for entry in read("folder", *names[:6]).values()} == {0, 1}
    with pytest.raises(ValueError, match="look like splits"):
        read("folder", *names)


def test_folder_market_names_are_told_their_reader() -> None:
    with pytest.raises(ValueError, match=r"bounding_box_test, bounding_box_train .*dataset\.reader=market_names"):
        read("folder", *(f"{folder}/0001_c1s1_000001_00.jpg" for folder in MARKET))


def test_folder_splits_inside_cameras_are_refused() -> None:
    with pytest.raises(ValueError, match=r"lie in 2 places of archive\.zip: door/, yard/; expected .*query/<camera>"):
        read("folder", *(f"{camera}/{split}/1.jpg" for camera in ("door", "yard") for split in ("query", "gallery")))


@pytest.mark.parametrize(
    ("folders", "images", "asked"),
    [
        ([f"person_{number}" for number in range(5)], 40, True),
        ([f"{number:04d}" for number in range(12)], 6, True),
        ([f"anna{number}" for number in range(25)], 6, True),
        (["door", "yard", "hall"], 3, False),
        ([f"cam{number}" for number in range(19)], 20, False),
        ([f"c{number}" for number in range(30)], 200, False),
        (["1", "2", "3"], 6, False),
    ],
)
def test_folder_people_in_the_place_of_cameras_are_asked_about_once(folders, images, asked, recwarn) -> None:
    found = read("folder", *(f"{folder}/{number}.jpg" for folder in folders for number in range(images)))
    assert len({entry.camera for entry in found.values()}) == len(folders)
    told = [str(warning.message) for warning in recwarn]
    assert len(told) == asked
    if asked:
        assert "Are they people?" in told[0] and "dataset.camera_labels=false" in told[0]


def test_folder_names_composed_or_not_are_one(tmp_path, make_zip) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    table = f"path,identity\n{decomposed}/1.jpg,3\n{composed}/2.jpg,4\n".encode()
    files = {f"{composed}/1.jpg": b"", f"{decomposed}/2.jpg": b"", "yard/1.jpg": b"", "identities.csv": table}
    listing = READERS["folder"]([list_archive(make_zip(tmp_path / "a.zip", files))])
    assert [(entry.name, entry.camera, entry.identity) for entry in listing.entries] == [
        (f"{composed}/1.jpg", 0, 3), (f"{composed}/2.jpg", 0, 4), ("yard/1.jpg", 1, None)
    ]  # fmt: skip
    with pytest.raises(ValueError, match="is in it twice"):
        list_archive(make_zip(tmp_path / "b.zip", {f"{composed}.jpg": b"", f"{decomposed}.jpg": b""}))


def test_folder_lists_that_are_not_read_are_named_where_no_identity_is_known() -> None:
    texts = {"train/identities.csv": "path,identity\n1.jpg,1\n"}
    others = ["labels.csv", "identities.csv.txt", "notes.txt", "ids.xlsx"]
    listing = READERS["folder"]([contents("train/a/1.jpg", "train/b/1.jpg", *others, texts=texts)])
    [note] = listing.notes
    assert "no identity is known" in note and "notes.txt" not in note
    assert all(name in note for name in ("ids.xlsx", "identities.csv.txt", "labels.csv", "train/identities.csv"))
    known = READERS["folder"](
        [contents("a/1.jpg", "b/1.jpg", "labels.csv", texts={"identities.csv": "path,identity\na/1.jpg,1"})]
    )
    assert known.notes == []
    tracks = READERS["folder"]([contents("a/t/1.jpg", "b/1.jpg", texts={"identities.csv": "path,identity\nb/1.jpg,1"})])
    assert tracks.notes == [
        "folders inside a camera's are kept as tracklets: whom a tracker followed there, not people by their names"
    ]


IDENTITIES = ["a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg"]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["7", "7", "-1", "0"], [7, 7, None, 0]),  # -1 and empty: unknown; 0: a distractor
        (["7", "7", "", "0"], [7, 7, None, 0]),
        (["1.0", "2.0", "-1.0", ""], [1, 2, None, None]),  # as spreadsheets and pandas write them
        (["0001", "1", "02", "2.00"], [1, 1, 2, 2]),
        (["zoe", "adam", "zoe", ""], [2, 1, 2, None]),
        (["zoe", "adam", "-1", "=1+1"], [3, 2, None, 1]),
        (["0", "0", "0", "0"], [0, 0, 0, 0]),
        (["", "-1", "", ""], [None] * 4),
        (["20230101001", "20230101002", "0", "20230101001"], [1, 2, 0, 1]),
    ],
)
def test_folder_identities_mean_what_the_field_means(cells, expected) -> None:
    table = "path,identity\n" + "".join(f"{name},{cell}\n" for name, cell in zip(IDENTITIES, cells, strict=True))
    found = read("folder", *IDENTITIES, texts={"identities.csv": table})
    assert [found[name].identity for name in IDENTITIES] == expected


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1", "2", "zoe", "4"], "expected numbers or names, found both: 1, 2, 4 and zoe"),
        (["1", "2", "1.5", "4"], "found both: 1, 2, 4 and 1.5"),
        (["zoe", "zoe", "0", "0"], "found both: 0 and zoe"),
        (["1", "2", "unknown", "4"], "identity unknown: where it is not known, leave the cell empty or write -1"),
        (["zoe", "nan", "None", "adam"], "identity None, nan: where it is not known"),
        (["1", "-2", "3", "4"], "identity -2; expected -1 (unknown), 0 (distractor) or more"),
    ],
)
def test_folder_identities_that_mean_nothing_are_refused(cells, message: str) -> None:
    table = "path,identity\n" + "".join(f"{name},{cell}\n" for name, cell in zip(IDENTITIES, cells, strict=True))
    with pytest.raises(ValueError, match=rf"identities\.csv of archive\.zip: .*{re.escape(message)}"):
        read("folder", *IDENTITIES, texts={"identities.csv": table})


def test_folder_people_numbered_from_0_are_noticed() -> None:
    names = ["a/1.jpg", "query/a/2.jpg", "query/b/2.jpg", "gallery/b/3.jpg"]
    table = "path,identity\na/1.jpg,1\nquery/a/2.jpg,0\nquery/b/2.jpg,1\ngallery/b/3.jpg,0\n"
    with pytest.raises(ValueError, match=r"1 queries of identity 0: query/a/2\.jpg; number people from 1"):
        read("folder", *names, texts={"identities.csv": table})
    unknown = table.replace("query/a/2.jpg,0", "query/a/2.jpg,-1")
    assert read("folder", *names, texts={"identities.csv": unknown})["query/a/2.jpg"].identity is None


def test_folder_a_path_that_is_not_there_is_shown_beside_one_that_is() -> None:
    texts = {"shop/identities.csv": "path,identity\ndoor/1.jpg,1\n2.jpg,2\n"}
    with pytest.raises(ValueError, match=r"1 of 2 paths are not in the archive: 2\.jpg; one that is: yard/2\.jpg$"):
        read("folder", "shop/door/1.jpg", "shop/yard/2.jpg", texts=texts)


def test_folder_identities() -> None:
    names = ["shop/a/1.jpg", "shop/b/2.jpg", "shop/b/x, y.jpg"]
    for table in (
        "path,identity\na/1.jpg,7\nb/2.jpg,0\n",
        'Path, Identity\r\n"shop/a/1.jpg",7\r\n./b\\2.jpg, 0\r\n',
    ):
        found = read("folder", *names, texts={"shop/identities.csv": table})
        assert [found[name].identity for name in names] == [7, 0, None]
        assert {entry.split for entry in found.values()} == {"train"}
    words = read("folder", *names, texts={"shop/identities.csv": 'path,identity\na/1.jpg,zoe\n"b/x, y.jpg",=1+1\n'})
    assert [words[name].identity for name in names] == [2, None, 1]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("path,identity\na/1.jpg,1\nb/9.jpg,2\nc/9.jpg,2\n", "2 of 3 paths are not in the archive: b/9.jpg, c/9.jpg"),
        ("path,identity\na/1.jpg,1\na/1.jpg,2\n", "'a/1.jpg' has two identities, '1' and '2'"),
        ("file,person\na/1.jpg,1\n", "the first line is 'file,person'; expected 'path,identity'"),
        ("", "the first line is ''"),
        ("path,identity\na/1.jpg\n", "row 2 is 'a/1.jpg'; expected a path and an identity"),
        ("path,identity\n,3\n", "row 2 is ',3'; expected a path and an identity"),
        ('path,identity\n"a/1.jpg,1\n', "not a CSV table"),
        ("path,identity\na/1.jpg," + "9" * 200_000, "not a CSV table"),
    ],
)
def test_folder_identities_errors(table: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"identities\.csv of archive\.zip.*{re.escape(message)}"):
        read("folder", "a/1.jpg", "b/2.jpg", texts={"identities.csv": table})


def test_folder_evaluation_needs_all_its_identities() -> None:
    names = ["a/1.jpg", "query/a/2.jpg", "gallery/b/3.jpg"]
    assert [entry.identity for entry in read("folder", *names).values()] == [None] * 3
    with pytest.raises(ValueError, match=r"leaves out 1 images of query and gallery: gallery/b/3\.jpg"):
        read("folder", *names, texts={"identities.csv": "path,identity\nquery/a/2.jpg,4\n"})
    with pytest.raises(ValueError, match="images in query, train; query/ and gallery/ come together"):
        read("folder", *names[:2])


def test_folder_errors() -> None:
    with pytest.raises(ValueError, match=r"folder: no images in archive\.zip; found: no images, but data\.csv"):
        read("folder", "data.csv")
    with pytest.raises(
        ValueError, match=r"2 of 3 images in archive\.zip lie in no camera's folder: query/b\.jpg, root\.jpg"
    ):
        read("folder", "root.jpg", "a/1.jpg", "query/b.jpg")


words = st.text(string.ascii_letters + string.digits + " -_é", min_size=1, max_size=6).filter(
    lambda word: word.strip() and word.lower() not in ("train", "query", "gallery")
)


@given(st.sets(st.tuples(words, words, words), min_size=1, max_size=8))
@QUICK
def test_folder_numbers_are_dense_and_follow_names(paths) -> None:
    names = sorted({f"{camera}/{tracklet}/{file}.jpg" for camera, tracklet, file in paths} | {"zz/1.jpg", "zzz/1.jpg"})
    found = read("folder", *names)
    cameras = sorted({name.split("/")[0] for name in names})
    tracklets = sorted({tuple(name.split("/")[:2]) for name in names if name.count("/") == 2})
    for name, entry in found.items():
        camera, *middle, _ = name.split("/")
        assert entry.camera == cameras.index(camera)
        assert entry.tracklet == (tracklets.index((camera, middle[0])) if middle else -1)
    assert len(found) == len(names)


SPECIFIED = {  # reader: names, folders of train, query, gallery, how many cameras
    "market1501": ("{identity}_c{camera}s1_{frame:06d}_00", MARKET, 6),
    "synthetic": ("{identity}_c{camera}s2_{frame:06d}_03", MARKET, 9999),
    "dukemtmc": ("{identity}_c{camera}_f{frame:07d}", MARKET, 8),
    "veri776": ("{identity}_c{camera:03d}_{frame:08d}_0", VERI, 20),
    "cuhk03": ("{identity}_c{camera}_1", MARKET, 2),
}
files = st.tuples(
    st.integers(0, 3),  # folder; the last is another one
    st.integers(-1, 2000).map(lambda number: "-1" if number < 0 else f"{number:04d}"),
    st.integers(0, 25),  # camera
    st.integers(0, 99_999),  # frame
    st.sampled_from([".jpg", ".PNG", ".txt", " (1).jpg"]),
)


@pytest.mark.parametrize("reader", SPECIFIED)
@given(listed=st.lists(files, max_size=8), whole=st.booleans())
@QUICK
def test_random_lists_are_read_right_or_refused(reader: str, listed, whole: bool) -> None:
    form, folders, cameras = SPECIFIED[reader]
    if whole:  # else a folder is nearly always missing
        listed += [(place, "0001", 1, 1, ".jpg") for place in range(3)]
    expected, junk, strange, filled = {}, set(), set(), set()
    names = set()
    for place, identity, camera, frame, ending in listed:
        stem = form.format(identity=identity, camera=camera, frame=frame)
        name = f"Top/{(*folders, 'gt_bbox')[place]}/{stem}{ending}"
        names.add(name)
        if place == 3 or ending == ".txt":
            continue
        filled.add(place)
        if ending == " (1).jpg" or not 1 <= camera <= cameras:
            strange.add(name)
        elif identity == "-1":
            junk.add(name)
        else:
            known = frame if "{frame" in form else -1
            expected[name] = (("train", "query", "gallery")[place], camera - 1, -1, known, int(identity))
    if len(filled) < 3 or strange:
        message = f"{len(strange)} names in archive" if len(filled) == 3 else "no images in '"
        with pytest.raises(ValueError, match=f"^{reader}: {message}"):
            read(reader, *names)
        return
    listing = READERS[reader]([contents(*names)])
    assert {entry.name: facts(entry) for entry in listing.entries} == expected
    assert (listing.junk, len(listing.entries)) == (len(junk), len(expected))


parts = st.one_of(st.text(max_size=5), st.sampled_from([*MARKET, *VERI, "train", "test", "list_train.txt", "labeled"]))
endings = st.sampled_from(["", ".jpg", "0001_c1s1_1_1.jpg"])
paths = st.tuples(st.lists(parts, min_size=1, max_size=3).map("/".join), endings).map("".join)
tables = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["path,identity\na/1.jpg,=1+1\n", "0000/x.jpg 0\n", "path,time\na/1.jpg,1e999\n", "path,time\n,9"]),
)
lists = st.sampled_from(
    ["list_train.txt", "list_val.txt", "list_query.txt", "list_gallery.txt", "a/identities.csv", "times.csv"]
)


@pytest.mark.parametrize("reader", READERS)
@given(st.sets(paths, max_size=6), st.dictionaries(lists, tables))
@QUICK
def test_whatever_an_archive_holds_a_reader_answers_or_refuses(reader: str, names, texts) -> None:
    try:
        found = READERS[reader]([contents(*names, texts=texts)]).entries
    except ValueError as error:
        assert "archive.zip" in str(error)
        return
    assert {entry.name for entry in found} <= names
    assert all(0 <= entry.camera < 9999 and (entry.identity or 0) >= 0 for entry in found)


def test_unusual_counts_are_told_with_both_numbers() -> None:
    def listing(train: int, query: int, gallery: int) -> Listing:
        numbers = {"train": train, "query": query, "gallery": gallery}
        return Listing([Entry(0, "", split, 0, -1, -1, 1) for split, number in numbers.items() for _ in range(number)])

    with pytest.warns(UserWarning, match=r"veri776: 1 / 2 / 3 images .*published: 37,778 / 1,678 / 11,579"):
        warn_of_unusual_counts("veri776", listing(1, 2, 3))
    warn_of_unusual_counts("cuhk03_detected", listing(*PUBLISHED["cuhk03"][1]))
    warn_of_unusual_counts("synthetic", listing(1, 2, 3))
    warn_of_unusual_counts("folder", listing(1, 0, 0))


@pytest.mark.parametrize(
    ("reader", "folders", "example", "sequence", "time"),
    [
        ("market1501", MARKET, "0002_c1s3_000450_03.jpg", 3, 18.0),  # 25 frames a second
        ("dukemtmc", MARKET, "0002_c8_f0044160.jpg", -1, 736.0),  # 60
        ("veri776", VERI, "0001_c020_00016450_0.jpg", -1, 658.0),  # 25
        ("market_names", MARKET, "0012_c17s4_000451_03.jpg", 4, None),  # who knows at what rate
        ("market_names", MARKET, "12_c8_12-30.5.png", -1, None),
        ("synthetic", MARKET, "0012_c17s1_000451_03.jpg", -1, None),
        ("msmt17", MARKET, "0000_c15_0012.jpg", -1, None),
        ("personx", MARKET, "0001_c3s1_07.jpg", -1, None),
    ],
)
def test_sequences_and_times_of_named_layouts(reader, folders, example, sequence, time) -> None:
    found = read(reader, *(f"{folder}/{example}" for folder in folders))
    for entry in found.values():
        assert entry.sequence == sequence and entry.tracklet == -1
        assert entry.time_seconds == time if time is not None else math.isnan(entry.time_seconds)


def test_sequences_of_msmt17_are_parts_of_days() -> None:
    stems = {"0000_000_01_0303morning_0008_0": (3030, 8), "0000_001_01_0303noon_0011_1": (3031, 11),
             "0000_002_02_1231afternoon_0008_0": (12312, 8),
             "0000_003_02_later_7": (-1, 7), "0000_004_02": (-1, -1),
             }  # fmt: skip
    lines = "".join(f"0000/{stem}.jpg 0\n" for stem in stems)
    texts = {"list_train.txt": lines, "list_val.txt": "", "list_query.txt": "", "list_gallery.txt": ""}
    found = read("msmt17", *(f"train/0000/{stem}.jpg" for stem in stems), "test/0000/x.jpg", texts=texts)
    assert [(entry.sequence, entry.frame) for entry in found.values()] == list(stems.values())


def test_folder_times_of_names_and_of_a_list() -> None:
    texts = {
        "shop/times.csv": "path,time,tracklet\nb/4.jpg,1970-01-01T00:01,\n./shop/b/5.jpg,, 9\na/7/2_t3.5s.jpg,4,x\n"
    }
    names = ("a/7/1_t2.040s.jpg", "a/7/2_t3.5s.jpg", "a/7/3.jpg", "b/4.jpg", "b/5.jpg", "b/6_t1s0.jpg", "b/7_t12s.jpg")
    listing = READERS["folder"]([contents(*(f"shop/{name}" for name in names), texts=texts)])
    told = {
        entry.name.removeprefix("shop/"): (
            {-1: "", **listing.tracklets}[entry.tracklet],
            entry.frame,
            None if math.isnan(entry.time_seconds) else entry.time_seconds,
        )
        for entry in listing.entries
    }
    assert told == {
        "a/7/1_t2.040s.jpg": ("7", 1, 2.04), "a/7/2_t3.5s.jpg": ("x", 2, 4.0), "a/7/3.jpg": ("7", 3, None),
        "b/4.jpg": ("", 4, 60.0), "b/5.jpg": ("9", 5, None), "b/6_t1s0.jpg": ("", 0, None),
        "b/7_t12s.jpg": ("", 7, 12.0),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("path,when\na/1.jpg,1\n", "the first line is 'path,when'; expected 'path,time' or 'path,time,tracklet'"),
        ("path,time\na/1.jpg\n", "row 2 is 'a/1.jpg'; expected a path and a time"),
        ("path,time\na/1.jpg,noon\n", "a/1.jpg: time: expected a number or a time like 2024-05-01T12:30:00, found"),
        ("path,time\na/1.jpg,inf\n", "a/1.jpg: time 'inf' is not finite"),
        ("path,time\na/1.jpg,1\na/1.jpg,2\n", "'a/1.jpg' has two times or tracklets, '1' and '2'"),
        ("path,time\na/9.jpg,1\n", "1 of 1 paths are not in the archive: a/9.jpg; one that is: a/1.jpg"),
    ],
)  # fmt: skip
def test_folder_times_that_mean_nothing_are_refused(table: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"times\.csv of archive\.zip: .*{re.escape(message)}"):
        read("folder", "a/1.jpg", "b/2.jpg", texts={"times.csv": table})
