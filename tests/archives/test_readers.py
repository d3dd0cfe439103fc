"""Readers: names inside an archive -> splits, cameras, frames, identities."""

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.archives.archive import Contents, Entry, Listing
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
    # one camera whose images lie in it, and one folder beside identities.csv, are no top folders
    assert [facts(entry)[1:3] for entry in read("folder", "a/1.jpg", "a/t/2.jpg").values()] == [(0, -1), (0, 0)]
    texts = {"identities.csv": "path,identity\n"}
    assert [facts(entry)[1:3] for entry in read("folder", "a/t/1.jpg", "a/u/2.jpg", texts=texts).values()] == [
        (0, 0),
        (0, 1),
    ]


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
        ("path,identity\na/1.jpg,\n", "expected a path and an identity"),
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
        ValueError, match=r"2 images in archive\.zip lie in no camera's folder: query/b\.jpg, root\.jpg"
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
tables = st.one_of(st.text(max_size=40), st.just("path,identity\na/1.jpg,=1+1\n"), st.just("0000/x.jpg 0\n"))
lists = st.sampled_from(["list_train.txt", "list_val.txt", "list_query.txt", "list_gallery.txt", "a/identities.csv"])


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
