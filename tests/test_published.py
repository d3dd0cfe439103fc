"""Published recipes on photographs: what is run, and what the table says; none of the pictures."""

import json
from argparse import Namespace

import pytest

from benchmarks import published, real
from reidlib.check import check_params
from reidlib.commands.compose import compose_values

RUN = {"set": "pku", "backbone": "efficientnet_lite0", "recipe": "icsr", "arm": "published", "seed": 1, "steps": 720}


@pytest.fixture
def results(tmp_path):
    """Files of two seeds as published, one with all nodes, one that failed, and one of a recipe without arms."""
    as_it_is = {key: value for key, value in RUN.items() if key != "arm"} | {"seed": 2}
    as_it_is |= {"initial_mAP": 10.0, "inter_mAP": 24.0}
    plain = [as_it_is, as_it_is | {"recipe": "camera_proxy"}]
    (tmp_path / real.RUNS).write_text("".join(json.dumps(line) + "\n" for line in plain))
    lines = [RUN | {"inter_mAP": 20.0}]
    lines += [RUN | {"arm": "nodes_all", "inter_mAP": 21.5}, RUN | {"arm": "dbscan", "error": "error: no cluster"}]
    (tmp_path / published.RUNS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


@pytest.mark.parametrize(("recipe", "arm"), published._arms())
def test_what_is_otherwise_is_something_and_fits(recipe, arm):
    job = {**RUN, "recipe": recipe, "values": published.ARMS[recipe][arm].values}
    values = compose_values(real.overrides(job))
    check_params(values)
    plain = compose_values(real.overrides({**job, "values": []}))
    assert (values == plain) == (arm == "published")
    assert values["extract"]["across"] is None and values["train_inter"]["clusters_per_batch"] == 8


def test_runs_of_the_file_are_not_run_again(results):
    arguments = Namespace(backbones=["efficientnet_lite0"], recipes=["icsr"], seeds=[1, 2], steps=720, out=results)
    arguments.arms = ["published", "nodes_all"]
    jobs = published.wanted(arguments, name="pku")
    assert [(job["arm"], job["seed"]) for job in jobs] == [("nodes_all", 2)]
    assert jobs[0]["values"] == ["refine.nodes=all"]


def test_the_table_says_what_a_deviation_costs(results):
    lines = published.table(results).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| pku")]
    assert [row[4] for row in rows] == ["as published", "all information nodes act", "DBSCAN across cameras"]
    place = lines[0].strip("| ").split(" | ").index("final mAP")
    assert rows[0][place] == "22.0 ± 2.8" and rows[0][-1] == ""
    assert rows[1][-1] == "+1.5"  # of the seed that both have
    assert any("dbscan, 1, 720: error: no cluster" in line for line in lines)
