"""What the page is told: cards, answers in words, a picture's context, lists without formulas."""

import csv
import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reidlib.gallery.gallery import Gallery
from reidlib.gallery.pictures import picture_files
from reidlib.serve.page import Asked, SearchPage, asked
from reidlib.serve.words import as_csv, in_words, verdict


def test_facts_tell_what_the_gallery_is(page):
    facts = page.facts()
    assert (facts["pictures"], facts["calibrated"], facts["tracklets"], facts["clock"]) == (24, True, True, False)
    assert facts["cameras"] == [
        {"name": "<b>door</b>&amp;", "pictures": 12}, {"name": '=HYPERLINK("http://x")', "pictures": 12}
    ]  # fmt: skip
    assert (facts["first"], facts["last"], facts["model"]) == ("77", "100", "model (icsr on crops)")


def test_an_uploaded_picture_and_a_row_find_who_it_is(page, crops):
    file = picture_files(crops)[6]  # person3 at the door
    found = page.search(file.read_bytes(), Asked(count=4))
    assert found["answers"][0]["row"] == 6 and found["answers"][1]["row"] in (18, 19)
    assert [answer["known"] for answer in found["answers"]] == [True, True, False, False]
    assert found["answers"][0]["probability"] > 0.9 > found["answers"][2]["probability"]
    assert found["answers"][0]["words"] == "almost certainly the same" and not found["nobody"]
    expected = page.gallery.search(file, k=4)
    assert [answer["row"] for answer in found["answers"]] == expected["row"].tolist()
    np.testing.assert_allclose([answer["similarity"] for answer in found["answers"]], expected["similarity"], atol=1e-6)
    by_row = page.search(6, Asked(count=1))["answers"]
    assert [answer["row"] in (18, 19) for answer in by_row] == [True]  # the other camera's tracklet, not its own
    only = page.search(6, Asked(cameras=("<b>door</b>&amp;",), since="95", until="99", per_tracklet=False))
    assert sorted(answer["row"] for answer in only["answers"]) == [1, 2, 3, 4, 5]


def test_nobody_known_is_said_plainly(page, crops):
    found = page.search(picture_files(crops)[6].read_bytes(), Asked(since="99"))
    assert [answer["row"] for answer in found["answers"]] == [0] and found["nobody"]
    assert found["verdict"] == (
        "Nobody known: none passes the threshold that 1 % of strangers pass. The nearest are below."
    )
    nothing = page.search(0, Asked(since="1000"))
    assert nothing["answers"] == [] and not nothing["nobody"] and nothing["verdict"].startswith("No answer: nothing")


def test_who_passes_the_threshold_unlikely_the_same_is_not_called_known(calibrated, hostile):
    """All pass it at a rate of 10 %, as strangers do in a large gallery."""
    learnt = calibrated.description.calibration
    pooled = learnt["pooled"] | {"thresholds": [0.5, 0.5], "offset": -105.0}
    lax = replace(calibrated, description=replace(calibrated.description, calibration=learnt | {"pooled": pooled}))
    found = SearchPage(Gallery(hostile.folder, model=lax)).search(0, Asked())
    assert found["nobody"] and not any(answer["known"] for answer in found["answers"])
    assert found["verdict"].startswith("Probably nobody known: the first is") and "11 of 11 pass" in found["verdict"]


def test_without_a_calibration_no_probability_is_made_up(model, hostile):
    found = SearchPage(Gallery(hostile.folder, model=model)).search(0, Asked())
    assert {(answer["probability"], answer["known"], answer["words"]) for answer in found["answers"]} == {
        (None, False, "")
    }
    assert "not calibrated" in found["verdict"] and not found["nobody"]


@pytest.mark.parametrize(
    ("likely", "passes", "words"),
    [
        (
            [0.97, 0.2],
            [True, False],
            "Known: the first is almost certainly the same, P(same) 0.97. One of 2 passes",
        ),
        (
            [0.05, 0.05],
            [True, True],
            "Probably nobody known: the first is probably not the same, P(same) 0.05. 2 of 2",
        ),
        ([0.3], [False], "Nobody known: none passes the threshold that 0.1 % of strangers pass."),
    ],
)
def test_the_verdict_says_probability_and_threshold_apart(likely, passes, words):
    assert verdict(likely, passes, false_match_rate=0.001).startswith(words)


def test_every_probability_has_words():
    shares = [in_words(share) for share in np.linspace(1, 0, 101)]
    assert len(set(shares)) == 5 and shares[0].startswith("almost certainly the") and "not" in shares[-1]


@pytest.mark.parametrize("row", [0, 11, 12, 17])
def test_the_context_is_the_tracklet_and_the_cameras_pictures_around_it(page, row):
    rows = page.gallery.rows
    camera = sorted(
        (other for other in range(24) if rows["camera"][other] == rows["camera"][row]), key=lambda r: rows["time"][r]
    )
    tracklet = [other for other in camera if rows["tracklet"][other] == rows["tracklet"][row]]
    place = camera.index(row)
    around = [other for number, other in enumerate(camera) if abs(number - place) <= 8]
    told = page.context(row)
    assert told["picture"]["row"] == row
    assert [picture["row"] for picture in told["tracklet"]["pictures"]] == tracklet
    assert [picture["row"] for picture in told["camera"]["pictures"]] == around and told["camera"]["total"] == 12
    with pytest.raises(ValueError, match=r"expected rows 0\.\.23, found 24"):
        page.context(24)


def test_without_times_and_tracklets_the_context_is_the_galleries_order(calibrated, crops, tmp_path):
    files = picture_files(crops)[:4]
    rows = pd.DataFrame({"path": list("abcd"), "time": [np.nan, 2.0, np.nan, 1.0]})
    page = SearchPage(Gallery.create(tmp_path / "gallery", calibrated, files, rows=rows))
    told = page.context(2)
    assert told["tracklet"] == {"total": 0, "pictures": []}
    assert [picture["row"] for picture in told["camera"]["pictures"]] == [0, 1, 2, 3]
    assert [picture["row"] for picture in page.context(1)["camera"]["pictures"]] == [3, 1]  # of known times
    assert page.facts()["cameras"] == [] and page.facts()["first"] == "1"


def test_times_of_a_clock_are_told_as_dates(calibrated, crops, tmp_path):
    rows = pd.DataFrame({"path": ["a"], "time": [1714566600.0]})
    files = picture_files(crops)[:1]
    page = SearchPage(Gallery.create(tmp_path / "gallery", calibrated, files, rows=rows))
    assert page.facts()["clock"] and page.context(0)["picture"]["time"] == "2024-05-01T12:30:00"
    assert page.search(files[0].read_bytes(), Asked(since="2024-05-01T12:30"))["answers"]
    assert not page.search(files[0].read_bytes(), Asked(since="2024-05-01T12:31"))["answers"]


def test_an_empty_gallery_is_served_too(calibrated, crops, tmp_path):
    gallery = Gallery.create(tmp_path / "gallery", calibrated, picture_files(crops)[:1])
    gallery.remove([0])
    page = SearchPage(gallery)
    assert page.facts()["pictures"] == 0 and page.pictures(Asked()) == {"total": 0, "pictures": []}
    assert page.search(picture_files(crops)[0].read_bytes(), Asked())["answers"] == []


def test_lists_are_cut_and_limited(page):
    told = page.pictures(Asked(cameras=('=HYPERLINK("http://x")',), offset=3, count=4))
    assert told["total"] == 12 and [picture["row"] for picture in told["pictures"]] == [15, 16, 17, 18]
    assert told["pictures"][0]["name"] == "<img src=x onerror=alert(15)>15.png"
    with pytest.raises(ValueError, match="expected cameras among"):
        page.pictures(Asked(cameras=("roof",)))
    for wrong in ({"count": 0}, {"count": 201}, {"offset": -1}):
        with pytest.raises(ValueError, match="expected 1 to 200 pictures"):
            Asked(**wrong)


def test_what_is_asked_is_read_from_the_address():
    query = {"camera": ["a", "b"], "since": ["5"], "count": ["7"], "every": [""]}
    assert asked(query) == Asked(cameras=("a", "b"), since="5", count=7, per_tracklet=False)
    assert asked({}) == Asked()
    with pytest.raises(ValueError, match="invalid literal"):
        asked({"count": ["many"]})


def test_a_list_holds_no_formula(page):
    lines = list(csv.DictReader(io.StringIO(page.search(6, Asked(per_tracklet=False, count=30))["csv"])))
    assert len(lines) == 23 and {line["camera"] for line in lines} == {"<b>door</b>&amp;", '\'=HYPERLINK("http://x")'}
    assert {line["identity"] for line in lines} == {"-1", "'@SUM(A1)"}
    assert list(lines[0]) == [
        "rank", "similarity", "row", "path", "camera", "time", "tracklet", "identity", "probability", "known"
    ]  # fmt: skip
    dangerous = ["=1", "+1+1", "-x", "@a", "\t=1", "\r=1", " =1", "\n"]
    table = pd.DataFrame({name: dangerous for name in ("path", "camera", "tracklet", "identity")} | {"rank": range(8)})
    for line in csv.reader(io.StringIO(as_csv(table), newline="")):
        assert not any(cell.lstrip()[:1] in tuple("=+-@") for cell in line)


def test_bombs_and_what_is_no_picture_are_refused(page):
    bomb = b"P6 60000 60000 255\n" + bytes(64)
    with pytest.raises(ValueError, match="the picture cannot be read: 60000 x 60000 pixels, over max_megapixels = 50"):
        page.search(bomb, Asked())
    with pytest.raises(ValueError, match="no picture of a format that is read"):
        page.search(b"<html>", Asked())
