"""The values of the published systems, recipe by recipe and data set by data set: tests/published_values.csv.

A row of the table names recipes, data sets (* for all known ones), a key of params.yaml, its value and where that was
read. Composing a recipe on a data set must give it.
"""

import csv
from functools import cache

import pytest
import yaml

from reidlib.commands.compose import compose_values
from tests.repository import ROOT

KNOWN = ["market1501", "msmt17", "dukemtmc", "personx", "veri776", "cuhk03"]
ROWS = list(csv.DictReader((ROOT / "tests/published_values.csv").read_text().splitlines()))
PAIRS = sorted(
    {
        (recipe, dataset)
        for row in ROWS
        for recipe in row["recipe"].split()
        for dataset in (KNOWN if row["dataset"] == "*" else row["dataset"].split())
    }
)
OURS = {"aligned_cues", "assisted_cues", "supervised"}
# Papers beside the systems that are followed item by item: where these differ stands in docs/recipes.md.
BESIDE = {"spcl", "camera_proxy", "agw_supervised", "baseline_supervised", "iids", "iids_convnext"}


@cache
def composed(recipe, dataset):
    return compose_values([f"recipe={recipe}", f"dataset={dataset}"])


def value_of(values, key):
    for name in key.split("."):
        values = values[name]
    return values


@pytest.mark.parametrize(("recipe", "dataset"), PAIRS)
def test_a_recipe_has_the_published_values(recipe, dataset):
    values, wrong = composed(recipe, dataset), {}
    rows = [row for row in ROWS if recipe in row["recipe"].split() and dataset in row["dataset"].replace("*", dataset)]
    for row in rows:
        found, published = value_of(values, row["key"]), yaml.safe_load(row["value"])
        if found != published:
            wrong[row["key"]] = f"{found}, published: {published} ({row['source']})"
    assert rows and not wrong


def test_every_published_system_has_its_rows():
    every = {path.stem for path in (ROOT / "conf/recipe").glob("*.yaml")}
    assert every - {recipe for recipe, _ in PAIRS} <= OURS | BESIDE


def test_every_row_says_where_it_was_read_and_is_said_once():
    assert all(row["source"] and None not in row.values() for row in ROWS)
    cells = [
        (recipe, dataset, row["key"])
        for row in ROWS
        for recipe in row["recipe"].split()
        for dataset in (KNOWN if row["dataset"] == "*" else row["dataset"].split())
    ]
    assert len(cells) == len(set(cells))


def test_the_default_keeps_what_it_was_measured_with():
    """What is otherwise on purpose is in the recipe of our own, never under a published name."""
    values = composed("aligned_cues", "market1501")
    own = {
        "unzip.interpolation": "bilinear",
        "augment.erase_like": "torchvision",
        "compute.precision": "auto",
        "model.pooling": "gem",
        "model.batch_norm_group": 64,
        "evaluate.reranking.like": "paper",
        "embed.flip": True,
        "train_inter.label_flip": True,
    }
    assert {key: value_of(values, key) for key in own} == own
