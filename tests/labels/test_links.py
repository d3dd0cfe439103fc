import numpy as np
import pandas as pd
import pytest

from reidlib.images.split import Split, image_id
from reidlib.labels.links import known_constraints, read_links, training_constraints, write_links

PATHS = [f"cam{row % 2}/person é/{row:04}.jpg" for row in range(12)]


@pytest.fixture
def split():
    """Twelve images; rows 0 and 4, 1 and 5 are tracklets 7 and 8; one camera sees 8 and 9 (rows 3 and 7) at once."""
    rows = pd.DataFrame({"image": [image_id(path.encode()) for path in PATHS]})
    rows["camera"] = np.arange(12, dtype=np.int16) % 2
    rows["tracklet"] = np.array([7, 8, -1, 9, 7, 8, -1, 9, -1, -1, -1, -1], np.int32)
    rows["sequence"] = np.int32(-1)
    rows["time_seconds"] = [0.0, 0.0, np.nan, 1.0, 4.0, 4.0, np.nan, 5.0, np.nan, np.nan, np.nan, np.nan]
    return Split(np.zeros((12, 2, 2, 3), np.uint8), rows)


def test_what_is_written_is_read(tmp_path, split):
    file = tmp_path / "links.csv"
    answers = [(PATHS[2], PATHS[6], "same"), (split.ids[3], "tracklet:7", "different"), (PATHS[8], PATHS[9], "skip")]
    write_links(file, answers)
    assert [tuple(answered) for answered in read_links(file, split)] == [
        (2, 6, "same", 2), (3, 0, "different", 3), (8, 9, "skip", 4),
    ]  # fmt: skip
    write_links(file, [])
    assert read_links(file, split) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected the first line first,second,answer"),
        ("one,two,answer\n", "found 'one,two,answer'"),
        ("first,second,answer\na.jpg,b.jpg,equal\n", r"line 2: expected image,image,same \| different \| skip"),
        ("first,second,answer\n\nnone.jpg,none.jpg,same\n", "line 3: 'none.jpg' is none of the training images"),
        ("first,second,answer\ntracklet:7,tracklet:70,same\n", "line 2: 'tracklet:70' is none"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(tmp_path, split, text, words):
    (tmp_path / "links.csv").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_links(tmp_path / "links.csv", split)
    with pytest.raises(FileNotFoundError, match="reidlib ask"):
        read_links(tmp_path / "none.csv", split)


def test_constraints_are_of_tracklets_times_and_answers_as_far_as_they_are_asked_for(tmp_path, split):
    assert known_constraints(split, known="none") is None
    together = known_constraints(split, known="tracklets")
    assert together.groups.tolist() == [0, 1, 2, 3, 0, 1, 4, 3, 5, 6, 7, 8] and len(together.apart) == 0
    assert known_constraints(split, known="tracklets_and_times").apart.tolist() == [[1, 3]]
    write_links(tmp_path / "links.csv", [(PATHS[2], PATHS[6], "same"), (PATHS[0], PATHS[2], "different")])
    found = training_constraints(split, tmp_path / "links.csv", known="tracklets_and_times", recipe="assisted_cues")
    assert found.groups.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7]
    assert found.apart.tolist() == [[0, 2], [1, 3]]
    bare = Split(split.images, split.rows.assign(tracklet=np.int32(-1)))
    assert training_constraints(bare, tmp_path / "rows.parquet", known="tracklets_and_times", recipe="icsr") is None


def test_links_are_refused_where_the_recipes_name_does_not_say_so(tmp_path, split):
    write_links(tmp_path / "links.csv", [])
    with pytest.raises(ValueError, match="recipes whose name says assisted"):
        training_constraints(split, tmp_path / "links.csv", known="none", recipe="icsr")


def test_an_answer_against_times_and_tracklets_is_told_with_its_chain(tmp_path, split):
    write_links(tmp_path / "links.csv", [(PATHS[5], PATHS[2], "same"), (PATHS[2], PATHS[7], "same")])
    with pytest.raises(ValueError) as caught:
        training_constraints(split, tmp_path / "links.csv", known="tracklets_and_times", recipe="assisted_cues")
    told = str(caught.value).splitlines()[1]
    names = list(split.ids)
    assert told == (
        f"  {names[1]} and {names[3]} are different (tracklets 8 and 9, at one moment), but the same by "
        f"{names[1]} = {names[5]} (tracklet 8), {names[5]} = {names[2]} (links.csv, line 2), "
        f"{names[2]} = {names[7]} (links.csv, line 3), {names[7]} = {names[3]} (tracklet 9)"
    )
