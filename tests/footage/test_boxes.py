"""Boxes of MOT files: read, refused, followed from frame to frame."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidlib.footage.boxes import BOXES, read_boxes, write_boxes
from reidlib.footage.tracking import overlaps, tracked


def test_lines_of_several_tools_are_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("2,7,10,20,30,40,0.5,-1,-1,-1\n\n1, 7, 1.5, 2, 3, 4, -1,\n1 6 1 2 3 4\n2,6,1,2,3,4,1\n")
    table = read_boxes(path)
    assert table[["frame", "track"]].to_numpy().tolist() == [[1, 6], [1, 7], [2, 6], [2, 7]]
    assert table["score"].fillna(-9).tolist() == [-9, -9, 1, 0.5]
    assert table.loc[1, ["x", "y", "width", "height"]].tolist() == [1.5, 2, 3, 4]
    write_boxes(tmp_path / "b.txt", table)
    pd.testing.assert_frame_equal(read_boxes(tmp_path / "b.txt"), table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no boxes in it"),
        ("frame,id,x,y,w,h\n", r"line 1: 'frame,id,.*expected frame,track,x,y,width,height"),
        ("1,1,0,0,5\n", "line 1: '1,1,0,0,5'"),
        ("1,1,0,0,5,0\n", "line 1"),
        ("1.5,1,0,0,5,5\n", "line 1"),
        ("1,1,nan,0,5,5\n", "line 1"),
        ("1,-2,0,0,5,5\n", "line 1"),
        ("0,1,0,0,5,5\n", "frames count from 1, found frame 0; add one to each"),
        ("1,1,0,0,5,5\n1,1,3,3,5,5\n", "track 1 in frame 1: more than once"),
        ("1,1,0,0,5,5\n1,-1,3,3,5,5\n", "1 of 2 boxes have the track -1"),
    ],
)
def test_lines_that_are_no_boxes_are_refused(tmp_path, text, message):
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"a\.txt.*{message}"):
        read_boxes(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="found no text"):
        read_boxes(path)


boxes = st.lists(st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 15)] * 2), min_size=1, max_size=5)


@given(boxes, boxes)
@settings(max_examples=40, deadline=None)
def test_overlaps_are_counted_pixel_by_pixel(ours, theirs):
    def pixels(box):
        x, y, width, height = box
        return {(column, row) for column in range(x, x + width) for row in range(y, y + height)}

    expected = [[len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b)) for b in theirs] for a in ours]
    np.testing.assert_allclose(overlaps(np.array(ours, float), np.array(theirs, float)), expected, atol=1e-12)


def rows(*found):
    table = pd.DataFrame([(frame, -1, x, 10, 30, 60, 0.9) for frame, x in found], columns=list(BOXES)).astype(BOXES)
    return tracked(table)[["frame", "x", "track"]].itertuples(index=False, name=None)


def test_boxes_are_followed_while_they_overlap():
    walking = [(frame, 5 * frame) for frame in range(1, 8)]
    beside = [(frame, 200 - 5 * frame) for frame in range(1, 8)]
    assert {(frame, x): track for frame, x, track in rows(*walking, *beside)} == {
        **dict.fromkeys(walking, 1), **dict.fromkeys(beside, 2),
    }  # fmt: skip


def test_tracks_end_where_boxes_are_missing_or_in_doubt():
    assert [track for *_, track in rows((1, 0), (7, 0), (14, 0))] == [1, 1, 2]  # five frames without, six
    assert [track for *_, track in rows((1, 0), (2, 100))] == [1, 2]
    two_claim = {(frame, x): track for frame, x, track in rows((1, 0), (2, 4), (2, 8))}
    assert two_claim == {(1, 0): 1, (2, 4): 1, (2, 8): 2}  # the nearer has it


def test_no_boxes_make_no_tracks():
    assert list(rows()) == []


def test_a_file_that_is_not_there_is_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"boxes\.txt: expected a file of boxes .*, found none; check the path"):
        read_boxes(tmp_path / "boxes.txt")
