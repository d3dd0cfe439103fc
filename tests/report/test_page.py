"""The page as a file: what it says and holds, that nothing of the data is markup, that it is whole or not there."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from reidlib.report.findings import find
from reidlib.report.page import write_page
from tests.made_up_run import CAMERA_NAMES, HOSTILE, grey_maps, made_up_run

FACTS = {"recipe": "icsr", "dataset": "<i>mine</i>", "seed": 1}
SETTINGS = {"facts": FACTS, "method": "A ramp.", "seed": 1, "neighbours": 5}


class Text(HTMLParser):
    """The tags and the text of a page, script, style and data apart."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words, self.blocks, self.within = [], [], {}, ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.within = f"{tag} {dict(attributes).get('id', '')}".strip() if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self.within = ""

    def handle_data(self, data):
        if self.within:
            self.blocks[self.within] = self.blocks.get(self.within, "") + data
        else:
            self.words.append(data)


def written(path, material, *, pictures=1000):
    figures = write_page(path, material, grey_maps, pictures=pictures, **SETTINGS)
    page = path.read_text()
    return figures, page, Text(page)


@pytest.mark.parametrize("known", [True, False])
def test_the_page_says_how_many_and_who_is_doubtful(tmp_path, known):
    figures, page, read = written(tmp_path / "report.html", made_up_run(known=known))
    words = " ".join(" ".join(read.words).split())
    assert (
        figures["individuals"] == 8 and figures["pictures"] == 48 + 16 + 32 and figures["bytes"] == len(page.encode())
    )
    assert "8 individuals found in 48 pictures from 2 cameras." in words
    assert figures["doubtful"] == 3 and "3 of them are doubtful" in words  # one who is two clusters, two who are one
    assert "3 pictures belong to no individual" in words
    assert ("81.3" in words) == ("85.5" in words) == ("individuals in truth" in words) == known
    assert ("No identity of queries and gallery is known" in words) == (not known)
    for title in ("Loss, across cameras", "Seen again", "Probability that two pictures show the same individual"):
        assert title in words
    for title in ("Queries found by rank", "(DET)", "the share that are", "Retrieval", "Pictures joined"):
        assert (title in words) == known


def test_names_are_text_and_the_policy_allows_the_pages_own_script_alone(tmp_path):
    _, page, read = written(tmp_path / "report.html", made_up_run(known=True))
    assert HOSTILE not in page and CAMERA_NAMES[0] in " ".join(read.words) and "<i>mine</i>" in " ".join(read.words)
    assert not [tag for tag, attributes in read.tags if tag == "img" and attributes.get("src") == "x"]
    facts = json.loads(read.blocks["script facts"])
    assert sum(HOSTILE in path for path in facts["pictures"]["path"]) == 16 + 6 + 11
    policy = next(given["content"] for tag, given in read.tags if tag == "meta" and "http-equiv" in given)
    for kind, block in (("script", read.blocks["script"]), ("style", read.blocks["style"])):
        digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)


def test_data_is_what_was_given(tmp_path):
    material = made_up_run(known=True)
    _, _, read = written(tmp_path / "report.html", material)
    facts = json.loads(read.blocks["script facts"])
    n, count = 48, 48 + 16 + 32
    pictures = facts["pictures"]
    assert pictures["cluster"] == [*material.labels.tolist(), *[-1] * (count - n)]
    assert pictures["identity"] == np.concatenate(list(material.identities.values())).tolist()
    assert facts["cameras"] == list(CAMERA_NAMES) and len(facts["ends"]) == count
    vectors = np.frombuffer(base64.b64decode(read.blocks["script vectors"]), np.int8).reshape(
        count, facts["dimensions"]
    )
    scales = np.frombuffer(base64.b64decode(read.blocks["script scales"]), "<f4")
    rows = np.concatenate(list(material.embeddings.values()))
    np.testing.assert_allclose((vectors * scales[:, None]) @ (vectors * scales[:, None]).T, rows @ rows.T, atol=0.02)
    slope, offset = facts["calibration"][0][1]
    for cosine in (0.2, 0.6):
        expected = float(material.calibration.probability(cosine, (0, 1)))
        assert 1 / (1 + np.exp(-(slope * cosine + offset))) == pytest.approx(expected, abs=1e-6)
    assert set(pictures["epoch"][:n]) == {0, 2}


def test_questions_know_no_identity_and_are_of_pictures_in_the_page(tmp_path):
    """Whoever is on the pictures, the same pairs are asked, which are those of `reidlib ask`."""
    material = made_up_run(known=True)
    told = []
    for number, of_all in enumerate((material.identities, {n: i[::-1].copy() for n, i in material.identities.items()})):
        _, _, read = written(tmp_path / f"{number}.html", replace(material, identities=of_all), pictures=40)
        told.append(json.loads(read.blocks["script facts"]))
    facts, other = (one["questions"] for one in told)
    assert facts["pairs"] and facts["apart"] == other["apart"] == []
    asking, ids = material.asking, material.splits["train"].ids.tolist()
    named = [tuple(ids.index(side["name"]) for side in pair) for pair in facts["pairs"]]
    assert named == asking.propose(50) == [tuple(ids.index(side["name"]) for side in pair) for pair in other["pairs"]]
    paths, every = told[0]["pictures"]["path"], material.names["path"].tolist()
    for pair, sides in zip(named, facts["pairs"], strict=True):
        for row, side, known in zip(pair, sides, asking.sides(pair), strict=True):
            assert paths[side["picture"]] == every[row] and side["group"] == row
            shown = [every.index(paths[picture]) for _, some, _ in side["strips"] for picture in some]
            assert shown == known.cluster[:8].tolist() and len(side["strips"]) == (len(known.cluster) > 0)


def test_spread_is_the_mean_distance_to_the_centre():
    material = made_up_run(known=False)
    found = find(material)
    for cluster in range(8):
        rows = material.embeddings["train"][material.labels == cluster]
        centre = rows.mean(axis=0) / np.linalg.norm(rows.mean(axis=0))
        assert found.sizes[cluster] == len(rows)
        assert found.spread[cluster] == pytest.approx(np.mean([1 - row @ centre for row in rows]), abs=1e-5)
    assert np.isnan(found.distances[material.labels < 0]).all()


def test_a_sample_says_so_and_holds_some_of_every_individual(tmp_path):
    figures, _, read = written(tmp_path / "report.html", made_up_run(known=True), pictures=40)
    facts = json.loads(read.blocks["script facts"])
    assert figures["pictures"] == len(facts["pictures"]["split"]) < 96
    assert f"This page holds {figures['pictures']:.0f} of 96 pictures" in " ".join(read.words)
    train = [
        cluster
        for cluster, split in zip(facts["pictures"]["cluster"], facts["pictures"]["split"], strict=True)
        if split == 0
    ]
    assert set(range(8)) <= set(train) and sum(facts["clusters"]["size"]) == 45


@pytest.mark.parametrize("case", ["no sides", "no clusters", "one camera"])
def test_runs_that_lack_something_have_a_page_too(tmp_path, case):
    material = made_up_run(known=False, empty_sides=case == "no sides")
    if case == "no clusters":
        material = replace(material, labels=np.full(48, -1, np.int32))
    if case == "one camera":
        splits = {name: replace(split, rows=split.rows.assign(camera=np.int16(0)), camera_labels=False)
                  for name, split in material.splits.items()}  # fmt: skip
        material = replace(material, splits=splits)
    figures, _, read = written(tmp_path / "report.html", material)
    words = " ".join(" ".join(read.words).split())
    assert (
        ("No individual was found in 48 pictures" in words) == (case == "no clusters") == (figures["individuals"] == 0)
    )
    assert ("There is one camera" in words) == (case == "one camera")


def test_twice_the_same_bytes_and_nothing_half_written(tmp_path):
    _, first, _ = written(tmp_path / "one.html", made_up_run(known=True))
    _, second, _ = written(tmp_path / "two.html", made_up_run(known=True))
    assert first == second

    def broken(one, other):
        raise RuntimeError("no network")

    with pytest.raises(RuntimeError):
        write_page(tmp_path / "three.html", made_up_run(known=True), broken, pictures=100, **SETTINGS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.html", "two.html"]
