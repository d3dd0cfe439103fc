import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from reidlib.batches.colour import balanced_stripes
from reidlib.retrieval.metrics import cosine_tiles, evaluate
from reidlib.settings import arguments
from reidlib.synthetic import dataset
from reidlib.synthetic.dataset import QUERY, TRAIN, synthesize
from reidlib.synthetic.people import MIN_DIFFERENCES, draw_people
from reidlib.synthetic.snapshots import Look
from tests.repository import ROOT

SMALL: dict[str, Any] = {
    "seed": 3,
    "train_identities": 3,
    "test_identities": 4,
    "cameras": 3,
    "images_per_camera": 3,
    "look": Look(height_px=48, width_px=24),
}
NAME = re.compile(r"(bounding_box_train|query|bounding_box_test)/(-1|\d{4})_c([1-9])s1_(\d{6})_(\d{2})\.jpg")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raw") / "new" / "synthetic.zip"
    synthesize(path, **SMALL)
    return path


def rows(archive: Path) -> list[tuple[str, int, int, int]]:
    with zipfile.ZipFile(archive) as store:
        found = [NAME.fullmatch(name) for name in store.namelist()]
    assert all(found)
    return [(m[1], int(m[2]), int(m[3]), int(m[4])) for m in found if m]


def test_same_seed_gives_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.zip"
    synthesize(again, **SMALL)
    assert again.read_bytes() == archive.read_bytes()


def test_another_seed_gives_other_pictures(archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.zip"
    synthesize(other, **(SMALL | {"seed": 4}))
    with zipfile.ZipFile(other) as a, zipfile.ZipFile(archive) as b:
        assert not {a.read(n) for n in a.namelist()} & {b.read(n) for n in b.namelist()}


def test_names_follow_the_protocol_of_market(archive: Path) -> None:
    found = rows(archive)
    train = {identity for folder, identity, *_ in found if folder == "bounding_box_train"}
    query = [(identity, camera) for folder, identity, camera, _ in found if folder == "query"]
    gallery = [(identity, camera) for folder, identity, camera, _ in found if folder == "bounding_box_test"]
    assert len(train) == 3
    assert len({identity for identity, _ in query}) == 4
    assert {0, -1} < {identity for identity, _ in gallery}  # distractors and junk
    assert len(found) == len(set(found))
    assert not train & {identity for identity, _ in query + gallery}
    assert min(train) > 0
    assert len(query) == len(set(query))
    for identity, camera in query:
        assert gallery.count((identity, camera)) == SMALL["images_per_camera"] - 1
    for identity in train | {identity for identity, _ in query}:
        assert len({camera for _, who, camera, _ in found if who == identity}) >= 2
    assert {camera for *_, camera, _ in found} <= {1, 2, 3}


def test_pictures_are_jpeg_of_the_size_asked_for(archive: Path) -> None:
    with zipfile.ZipFile(archive) as store:
        assert store.namelist() == sorted(store.namelist())
        for entry in store.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            picture = Image.open(io.BytesIO(store.read(entry)))
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (24, 48))
            assert np.asarray(picture).std() > 5


def test_camera_shift_moves_colours(tmp_path: Path) -> None:
    def spread(shift: float) -> float:
        archive = tmp_path / f"{shift}.zip"
        look = Look(height_px=48, width_px=24, camera_shift=shift, scene=0.0, lamps=0.0, occlusion=0.0)
        synthesize(archive, **(SMALL | {"look": look}))
        means: dict[str, list[np.ndarray]] = {}
        with zipfile.ZipFile(archive) as store:
            for name in store.namelist():
                pixels = np.asarray(Image.open(io.BytesIO(store.read(name))), dtype=np.float64)
                means.setdefault(name.split("_c")[1][0], []).append(pixels.mean((0, 1)))
        return float(np.std([np.mean(m, axis=0) for m in means.values()], axis=0).mean())

    assert spread(1.0) > 3 * spread(0.0)


@pytest.mark.parametrize(("height_px", "width_px", "strength"), [(32, 16, 0.0), (33, 17, 2.0)])
def test_extreme_looks_work(tmp_path: Path, height_px: int, width_px: int, strength: float) -> None:
    strengths = dict.fromkeys(("camera_shift", "distance", "lamps", "pose", "crop"), strength)
    shares = dict.fromkeys(("scene", "occlusion"), min(strength, 1.0))
    look = Look(height_px=height_px, width_px=width_px, **strengths, **shares)
    synthesize(tmp_path / "a.zip", **(SMALL | {"look": look}))
    assert "bounding_box_train" in {folder for folder, *_ in rows(tmp_path / "a.zip")}


def test_cameras_beyond_the_prepared_scenes_work(tmp_path: Path) -> None:
    synthesize(tmp_path / "a.zip", **(SMALL | {"cameras": 9, "images_per_camera": 2}))
    assert {camera for *_, camera, _ in rows(tmp_path / "a.zip")} == set(range(1, 10))


def test_grey_world_stripes_do_not_solve_the_set_of_the_demo(tmp_path: Path) -> None:
    def retrieval(look: Look) -> float:
        archive = tmp_path / "a.zip"
        synthesize(archive, **(SMALL | {"cameras": 4, "test_identities": 40, "images_per_camera": 2, "look": look}))
        with zipfile.ZipFile(archive) as store:
            found = [(row, name) for row, name in zip(rows(archive), store.namelist(), strict=True) if row[0] != TRAIN]
            pictures = np.stack([np.asarray(Image.open(io.BytesIO(store.read(name)))) for _, name in found])
        query = np.array([folder == QUERY for (folder, *_), _ in found])
        identities, cameras = np.array([row[1:3] for row, _ in found]).T
        stripes = balanced_stripes(pictures)
        return evaluate(
            cosine_tiles(stripes[query], stripes[~query]),
            query_identities=identities[query],
            gallery_identities=identities[~query],
            query_cameras=cameras[query],
            gallery_cameras=cameras[~query],
        ).mAP

    easy = Look(height_px=64, width_px=32, scene=0.3, distance=0.0, lamps=0.0)
    harder = Look(height_px=64, width_px=32)  # of fewer people than the demo's, so easier than it
    assert retrieval(easy) > 0.7 and retrieval(harder) < 0.4


def test_the_look_of_the_demo_is_that_of_the_renderer() -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())["synthesize"]["look"]
    assert Look(**values) == Look()


def test_people_differ_in_several_attributes() -> None:
    people = draw_people(120, generator=np.random.default_rng(0))
    for i, one in enumerate(people):
        for other in people[:i]:
            assert sum(a != b for a, b in zip(one.traits, other.traits, strict=True)) >= MIN_DIFFERENCES
    dark = sum(sum(person.lower_colour) < 1.2 for person in people)
    assert dark > len(people) / 2


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"seed": -1}, "seed"),
        ({"train_identities": 0}, "train_identities"),
        ({"test_identities": 0}, "test_identities"),
        ({"test_identities": 10_000}, "test_identities"),
        ({"cameras": 1}, "cameras"),
        ({"cameras": 10}, "cameras"),
        ({"images_per_camera": 1}, "images_per_camera"),
        ({"images_per_camera": 100}, "images_per_camera"),
    ],
)
def test_nonsense_is_refused_by_name(change: dict[str, Any], key: str) -> None:
    values = {name: value for name, value in SMALL.items() if name != "look"}
    with pytest.raises(ValueError, match=rf"synthesize\.{key}: "):
        arguments(values | change, of=synthesize, where="synthesize", given=("look",))


@pytest.mark.parametrize(
    "change",
    [
        {"height_px": 8},
        {"width_px": 4000},
        {"camera_shift": -0.1},
        {"occlusion": 1.5},
        {"scene": float("nan")},
        {"distance": -0.1},
        {"lamps": 2.1},
        {"pose": 3.0},
        {"crop": 3.0},
        {"light": 1.0},
    ],
)
def test_a_look_that_means_nothing_is_refused_by_name(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"synthesize\.look\.{next(iter(change))}: "):
        arguments(change, of=Look, where="synthesize.look")


def test_more_people_than_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"train_identities \+ test_identities: expected at most 9,999, .*found 10,000"
    ):
        synthesize(tmp_path / "a.zip", **(SMALL | {"train_identities": 9000, "test_identities": 1000}))
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_nothing_and_spares_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"older")

    def fail(*args: Any, **kwargs: Any) -> bytes:
        raise RuntimeError("broken")

    monkeypatch.setattr(dataset, "snapshot", fail)
    with pytest.raises(RuntimeError, match="broken"):
        synthesize(archive, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    assert archive.read_bytes() == b"older"
