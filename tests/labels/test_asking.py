"""What is asked next: nothing that follows, nothing twice; and which pictures are shown beside the two."""

import numpy as np
import pytest

from reidlib.commands.compose import compose_values
from reidlib.labels.asking import open_asking
from reidlib.labels.links import read_links, write_links
from tests.asked import make_asked, truth


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asking")
    make_asked(folder, tracklets=True)
    return folder


@pytest.fixture
def asking(folder):
    (folder / "data/synthetic/links.csv").unlink(missing_ok=True)
    return opened(folder)


def opened(folder):
    return open_asking(compose_values([]), data=folder / "data")


def answered(asking, pair):
    asking.answer(*pair, truth(*(asking.name(row) for row in pair)))


def test_nothing_is_asked_that_follows_until_nothing_is_left(asking):
    asked = []
    while (pair := asking.question()) is not None:
        assert asking.question() == pair  # until it is answered
        known = asking.constraints()
        assert pair not in asked and not known.settles(*pair)
        asked.append(pair)
        answered(asking, pair)
    labels = asking.merges.labels
    people = np.array([int(asking.name(row)[-10:-8]) for row in range(len(labels))])
    inside = labels >= 0
    assert len(asked) > 12 and all(len(set(people[labels == label])) == 1 for label in set(labels[inside]))
    assert len(read_links(asking.file, asking.split)) == len(asked)


def test_what_follows_within_a_round_is_left_out(asking):
    first, second = asking.question()
    todo = asking.propose()
    (a, b), (c, d) = todo[0], todo[1]
    asking.answer(first, second, "same")
    write_links(asking.file, [*asking.answers, (asking.name(c), asking.name(d), "same")])  # by somebody else
    assert (first, second) == (a, b) and asking.question() == todo[2]
    assert [answer for *_, answer in asking.answers] == ["same", "same"]


def test_an_undone_pair_is_asked_next(asking):
    pairs = []
    for _ in range(3):
        pairs.append(asking.question())
        asking.answer(*pairs[-1], "skip")
    assert asking.undo() and asking.question() == pairs[2]
    assert asking.undo() and asking.question() == pairs[1]
    assert len(asking.answers) == 1 and asking.undo() and not asking.undo()


def test_sides_are_the_tracklet_and_the_part_with_cameras_in_turns(asking, folder):
    tracklets, cameras = asking.split.tracklets, asking.split.cameras
    some = 0
    for pair in asking.propose(30):
        for side, part, row in zip(asking.sides(pair), asking.merges.parts(*pair), pair, strict=True):
            own = {r for r in range(len(cameras)) if tracklets[r] == tracklets[row] >= 0} - {row}
            assert side.row == row and set(side.tracklet.tolist()) == own
            assert set(side.cluster.tolist()) == set(part.tolist()) - own - {row}
            seen, left = cameras[side.cluster].tolist(), cameras[side.cluster].tolist()
            for place, camera in enumerate(seen):  # none has a second turn while another waits for its first
                others = [one for one in set(left) if seen[:place].count(one) < seen[:place].count(camera)]
                assert not others
                left.remove(camera)
            some += len(own) > 0
    assert some > 3


def test_answers_go_on_and_a_contradiction_tells_its_chain_by_names(asking, folder):
    row = int(np.flatnonzero(asking.split.tracklets >= 0)[0])
    other = next(iter(asking.sides((row, (row + 1) % 96))[0].tracklet.tolist()))
    apart = next(r for r in range(96) if asking.constraints().groups[r] not in asking.constraints().groups[[row]])
    asking.answer(row, apart, "skip")
    with pytest.raises(ValueError, match=rf"{asking.name(row)} = {asking.name(other)} \(tracklet"):
        asking.answer(row, other, "different")
    again = opened(folder)
    assert again.answers == asking.answers and len(again.answers) == 1
