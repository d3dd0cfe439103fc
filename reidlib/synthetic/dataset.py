"""Renders pedestrians of its own into a zip in Market-1501 layout: the data of the demo and of the tests.

Every identity has a build, hair, clothes, shoes, and perhaps a bag and a hat; every camera its own sensor, view,
distance and scene, lit in colours of its own; every picture its own step, light, crop and perhaps something in the way.
Clothes come from few muted colours and cameras move colours a lot, so a colour histogram is not enough to tell people
apart, while their details are.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from reidlib.files import atomic_file
from reidlib.progress import progress
from reidlib.settings import Seed
from reidlib.synthetic.cameras import Camera, make_camera, set_up
from reidlib.synthetic.people import Person, draw_people
from reidlib.synthetic.snapshots import SUPERSAMPLING, Look, Walk, snapshot, start_walk

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
SEEN_SHARE = 0.85  # how often a camera sees a person
DISTRACTOR, JUNK = 0, -1
MOST_IDENTITIES = 9999  # four digits in the names
Identities = Annotated[int, Field(ge=1, le=MOST_IDENTITIES)]


@dataclass(frozen=True)
class _Shot:
    name: str  # inside the archive
    identity: int  # 0 = distractor, -1 = junk
    person: int  # place in the list of people
    camera: int
    walk: Walk


def synthesize(
    archive: Path,
    *,
    seed: Seed,
    train_identities: Identities,
    test_identities: Identities,
    cameras: Annotated[int, Field(ge=2, le=9)],
    images_per_camera: Annotated[int, Field(ge=2, le=99)],
    look: Look,
) -> None:
    """Render a set of pedestrians into a zip in Market-1501 layout.

    Every person is seen by a camera with probability 0.85, by two at least, and there on images_per_camera pictures of
    one walk. Of a test person's pictures at a camera the first is the query, the others are gallery. The gallery also
    holds distractors (identity 0000: people met nowhere else) and junk (-1: badly cut boxes).

    Args:
        archive: the zip to write; it appears complete or not at all. An existing one is replaced.
        seed: of everything; the same seed gives the same bytes on one machine, another seed other people and cameras.
        train_identities: people of the training split.
        test_identities: other people, of query and gallery.
        cameras: how many; one digit in the names.
        images_per_camera: pictures of one person at one camera.
        look: size and difficulty of the pictures.

    Raises:
        ValueError: where there are more people than the names can number.
    """
    known = train_identities + test_identities
    if known > MOST_IDENTITIES:
        raise ValueError(
            f"synthesize.train_identities + test_identities: expected at most {MOST_IDENTITIES:,}, which the names can "
            f"number, found {known:,}"
        )
    generator = np.random.default_rng([seed, 0])
    extras = max(cameras, test_identities // 2)
    people = draw_people(known + extras, generator=generator)
    canvas = {"height_px": look.height_px * SUPERSAMPLING, "width_px": look.width_px * SUPERSAMPLING}
    lenses = [
        make_camera(c, **canvas, shift=look.camera_shift, scene=look.scene, generator=generator) for c in range(cameras)
    ]
    places = np.random.default_rng([seed, 2])
    lenses = [set_up(lens, distance=look.distance, lamps=look.lamps, generator=places) for lens in lenses]
    shots = _plan(lenses, (train_identities, test_identities, extras), images_per_camera, look.pose, generator)
    with atomic_file(archive) as partial:
        _write(partial, shots, people=people, lenses=lenses, look=look, seed=seed)


def _plan(
    lenses: list[Camera], counts: tuple[int, int, int], images: int, pose: float, generator: np.random.Generator
) -> list[_Shot]:
    """Decide who is seen where and when; counts of train people, test people and people met once only."""
    train, test, extras = counts
    numbers = generator.permutation(np.arange(1, train + test + 1))
    clock = [int(generator.integers(1, 100)) for _ in lenses]
    shots: list[_Shot] = []

    def add(folder: str, identity: int, person: int, camera: int, walk: Walk) -> None:
        clock[camera] += int(generator.integers(4, 12))
        who = "-1" if identity == JUNK else f"{identity:04d}"
        name = f"{folder}/{who}_c{camera + 1}s1_{clock[camera]:06d}_{int(generator.integers(1, 5)):02d}.jpg"
        shots.append(_Shot(name, identity, person, camera, walk))

    for person in generator.permutation(train + test).tolist():
        seen = generator.random(len(lenses)) < SEEN_SHARE
        seen[generator.permutation(len(lenses))[:2]] |= seen.sum() < 2
        for camera in np.flatnonzero(seen).tolist():
            walk = start_walk(lenses[camera], pose=pose, generator=generator)
            clock[camera] += int(generator.integers(20, 200))
            for image in range(images):
                folder = TRAIN if person < train else QUERY if image == 0 else GALLERY
                add(folder, int(numbers[person]), person, camera, walk)
    for extra in range(extras + (extras + 1) // 2):
        camera = extra % len(lenses)
        identity = DISTRACTOR if extra < extras else JUNK
        walk = start_walk(lenses[camera], pose=pose, generator=generator)
        add(GALLERY, identity, train + test + extra % extras, camera, walk)
    return sorted(shots, key=lambda shot: shot.name)


def _write(
    path: Path, shots: list[_Shot], *, people: list[Person], lenses: list[Camera], look: Look, seed: int
) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as store:
        for number, shot in enumerate(progress(shots, "rendering", total=len(shots))):
            generator = np.random.default_rng([seed, 1, number])
            picture = snapshot(
                people[shot.person],
                lenses[shot.camera],
                shot.walk,
                look=look,
                other=people[int(generator.integers(len(people)))],
                generator=generator,
                cut=shot.identity == JUNK,
            )
            entry = zipfile.ZipInfo(shot.name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            store.writestr(entry, picture)
