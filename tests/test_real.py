"""The yardstick of photographs, without its pictures: what it runs, what it runs again, and what its table says."""

import json
from argparse import Namespace

import pytest

from benchmarks import real
from reidlib.check import check_params
from reidlib.commands.compose import compose_values

BOUND = {"set": "pku", "backbone": "mobilenetv2", "recipe": "supervised", "seed": 1, "steps": 720}
BOUND |= {"initial_mAP": 10.0, "inter_mAP": 50.0}
RECIPE = {name: compose_values([f"recipe={name}", "dataset=market1501"]) for name in ("cluster_contrast", "icsr")}
RUN = BOUND | {"recipe": "icsr", "inter_mAP": 20.0}


@pytest.fixture
def results(tmp_path):
    """A file of three runs, one of them run twice, one without its bound, and one that failed."""
    lines = [RUN | {"inter_mAP": 15.0}, BOUND, RUN, RUN | {"seed": 2, "inter_mAP": 24.0}]
    lines.append(RUN | {"seed": 3, "error": "error: no cluster at all"})
    del lines[-1]["inter_mAP"]
    (tmp_path / real.RUNS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


@pytest.mark.parametrize("steps", [8, 12, 120, 720])
def test_recipes_of_one_and_of_two_stages_take_the_same_number_of_steps(steps):
    one, two = (real.schedule(steps, RECIPE[name]) for name in ("cluster_contrast", "icsr"))
    assert one["train_inter.epochs"] * one["train_inter.iterations"] == steps
    assert "train_intra.epochs" not in one
    both = [two[f"{stage}.epochs"] * two[f"{stage}.iterations"] for stage in ("train_intra", "train_inter")]
    assert sum(both) == steps


@pytest.mark.parametrize(("steps", "cameras"), [(720, 2), (240, 2), (360, 6), (8, 2)])
def test_networks_of_one_camera_each_share_the_steps_inside_cameras(steps, cameras):
    values = real.schedule(steps, RECIPE["icsr"], cameras=cameras)
    assert RECIPE["icsr"]["train_intra"]["sharing"] == "per_camera"
    assert values["train_intra.epochs"] * values["train_intra.iterations"] == max(1, steps // 6 // cameras)


def test_rounds_of_both_are_two():
    values = real.schedule(720, compose_values(["recipe=iids", "dataset=market1501", "train_intra.epochs=0",
                                                "train_inter.start_from=initial"]))  # fmt: skip
    assert values["train_inter.epochs"] == 10
    assert values["train_intra.iterations"] == values["train_inter.iterations"] == 72


def test_steps_that_epochs_cannot_share_are_refused():
    with pytest.raises(ValueError, match="--steps 700"):
        real.schedule(700, RECIPE["cluster_contrast"])


def test_the_rate_falls_after_the_same_share_of_the_epochs():
    assert RECIPE["icsr"]["train_inter"]["epochs"] == 50 and RECIPE["icsr"]["train_inter"]["decay_at"] == [20, 40]
    assert real.schedule(720, RECIPE["icsr"])["train_inter.decay_at"] == [4, 8]  # of 10
    assert real.schedule(720, RECIPE["cluster_contrast"])["train_inter.decay_at"] == [5, 10]  # of 12


@pytest.mark.parametrize("name", real.SETS)
def test_values_of_a_set_fit_the_pipeline(name):
    for recipe in ("supervised", "iids"):
        job = {"set": name, "backbone": "efficientnet_lite0", "recipe": recipe, "seed": 2, "steps": 720}
        values = compose_values(real.overrides(job))
        check_params(values)
        batch = values["train_inter"]["clusters_per_batch"] * values["train_inter"]["images_per_cluster"]
        assert (batch, values["seed"], values["extract"]["weights"]) == (32, 2, "efficientnet_lite0.pth")


def test_a_run_that_is_in_the_file_is_not_run_again(results):
    arguments = Namespace(backbones=["mobilenetv2"], recipes=["icsr", "iids"], seeds=[1, 3], steps=720, out=results)
    jobs = real.wanted(arguments, name="pku")
    assert [(job["recipe"], job["seed"]) for job in jobs] == [("iids", 1), ("iids", 3)]


def test_the_table_holds_the_last_line_of_each_run_its_spread_and_its_way_to_the_bound(results):
    rows = [line.split(" | ") for line in real.table(results).splitlines() if line.startswith("| pku")]
    cells = {row[3]: dict(zip(real.COLUMNS, row[5:], strict=True)) | {"seeds": row[4]} for row in rows}
    assert cells["icsr"]["seeds"] == "2"
    assert cells["icsr"]["final mAP"] == "22.0 ± 2.8"  # 20 and 24
    assert cells["icsr"]["share of the way"] == "25.0"  # 10 of 40, and one whose bound is not known
    assert cells["supervised"]["share of the way"] == "100.0"
    assert "- pku, mobilenetv2, icsr, seed 3, 720 steps: error: no cluster at all" in real.table(results)
