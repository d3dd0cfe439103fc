"""Runs compared over seeds: what is one setting, what is averaged, what DVC's own output becomes."""

import json
import statistics

import pandas as pd
import pytest
import yaml
from rich.console import Console

from reidlib.commands.compare import Run, compare_runs, comparison_table, dvc_runs, folder_runs, main
from tests.repository import run

MEASURES = {
    "initial_mAP": 10.0,
    "inter_mAP": 50.0,
    "inter_rank1": 60.0,
    "inter_reranked_mAP": 70.0,
    "inter_clusters": 9,
}


def one(where="a", *, metrics=None, **params):
    return Run(where, {"seed": 1, **params}, MEASURES | (metrics or {}))


def printed(comparison, width=120):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(comparison_table(comparison))
        return console.export_text()


def test_runs_that_differ_in_the_seed_alone_are_one():
    values = [50.0, 53.5, 48.25]
    runs = [one(seed=seed, metrics={"inter_mAP": value}, eps=0.6) for seed, value in enumerate(values)]
    found = compare_runs([*runs, one(seed=7, eps=0.5)])
    assert found["seeds"].tolist() == [3, 1]
    assert found["differs"].tolist() == ["eps=0.6", "eps=0.5"]
    assert found["inter_mAP"].tolist() == pytest.approx([statistics.mean(values), 50])
    assert found["inter_mAP sd"][0] == pytest.approx(statistics.stdev(values))
    assert pd.isna(found["inter_mAP sd"][1])
    assert list(found) == ["name", "differs", "seeds", "inter_mAP", "inter_mAP sd", "inter_rank1", "inter_rank1 sd"]
    text = printed(found)
    assert f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}" in text
    assert "50.00 │" in text and "60.00 ± 0.00" in text


def test_only_what_sets_runs_of_one_name_apart_is_shown():
    shared = {"dataset.name": "market1501"}
    runs = [
        one(name="icsr", **shared, nodes="all", eps=0.6),
        one(name="icsr", **shared, nodes="one", eps=0.6),
        one(name="iids", **shared, quantile=0.1, loss=[1, 2], metrics={"inter_mAP": 90.0}),
    ]
    found = compare_runs(runs)
    assert found["name"].tolist() == ["iids", "icsr", "icsr"]
    assert found["differs"].tolist() == ["", 'nodes="all"', 'nodes="one"']
    elsewhere = one(name="iids", quantile=0.1, loss=[1, 2], **{"dataset.name": "msmt17"})
    assert set(compare_runs([*runs[:1], elsewhere])["differs"]) == {
        'dataset.name="market1501"',
        'dataset.name="msmt17"',
    }


def test_many_differences_are_counted_in_the_table_and_whole_in_the_frame():
    runs = [one(**{f"p{number}": value for number in range(9)}) for value in (0, 1)]
    found = compare_runs(runs)
    assert found["differs"][0].count("\n") == 8
    text = printed(found)
    assert "p5=0" in text and "p6=0" not in text and text.count("… and 3 more") == 2


def test_a_run_listed_twice_counts_once_and_says_so_where_it_measured_otherwise():
    runs = [one("head"), one("copy"), one("other", seed=2)]
    assert compare_runs(runs)["seeds"].tolist() == [2]
    with pytest.warns(UserWarning, match="late is left out: head has its parameters and seed"):
        found = compare_runs([*runs, one("late", metrics={"inter_mAP": 0.0})])
    assert found["inter_mAP"].tolist() == [50]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (
            ["initial/mAP", "initial/rank1", "final/mAP", "final/rank1", "final/reranked_mAP"],
            ["final/mAP", "final/rank1"],
        ),
        (["initial_mAP", "intra_mAP", "intra_mINP", "intra_reranked_mAP"], ["intra_mAP", "intra_mINP"]),
        (["clusters", "silhouette"], ["clusters", "silhouette"]),
        (
            [
                "intra_clusters",
                "intra_silhouette",
                "inter_clusters",
                "inter_camera_span",
                "inter_silhouette",
                "unzip.train_images",
                "train_inter.clusters",
                "train_inter.outlier_share",
                "refine.camera_span",
            ],
            ["inter_clusters", "inter_camera_span", "inter_silhouette"],
        ),
    ],
)
def test_the_last_model_is_shown_by_default(known, expected):
    found = compare_runs([Run("a", {"seed": 1}, dict.fromkeys(known, 1.0))])
    assert [name for name in found if f"{name} sd" in found] == expected


def test_metrics_that_not_all_runs_have():
    runs = [one(seed=1, metrics={"x": 1.0}), one(seed=2), one(seed=3, metrics={"x": 4.0}), one(other=1)]
    found = compare_runs(runs, metrics=["x", "inter_mAP"])
    assert found["x"][0] == 2.5 and pd.isna(found["x"][1])
    assert "2.50 ± 2.12" in printed(found)


def test_nothing_to_compare_says_how_to_queue():
    with pytest.raises(ValueError, match=r"dvc exp run --queue -S seed=1,2,3 .* dvc queue start"):
        compare_runs([])
    with pytest.raises(ValueError, match=r"expected some of initial_mAP, .*; found final/mAP"):
        compare_runs([one()], metrics=["final/mAP"])


def write_run(folder, *, seed, value):
    (folder / "metrics").mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump({"seed": seed, "name": "icsr", "refine": {"k1": 30}}))
    (folder / "metrics/evaluate.json").write_text(json.dumps({"inter_mAP": value}))
    (folder / "metrics/train_inter.json").write_text(json.dumps({"loss": 2 * value}))
    return folder


def test_folders_are_runs(tmp_path, capsys):
    folders = [write_run(tmp_path / str(seed), seed=seed, value=10.0 * seed) for seed in (1, 2)]
    first = folder_runs(folders)[0]
    assert first.params == {"seed": 1, "name": "icsr", "refine.k1": 30}
    assert first.metrics == {"inter_mAP": 10, "train_inter.loss": 20}
    table = tmp_path / "out/table.csv"
    main(["--runs", *map(str, folders), "--metrics", "inter_mAP", "train_inter.loss", "--csv", str(table)])
    assert "icsr" in capsys.readouterr().out
    row = pd.read_csv(table).to_dict("records")
    assert (
        row[0]["seeds"] == 2 and row[0]["inter_mAP"] == 15 and row[0]["train_inter.loss sd"] == pytest.approx(200**0.5)
    )
    with pytest.raises(ValueError, match=r"found no params\.yaml"):
        folder_runs([tmp_path])


STAGES = """
stages:
  evaluate:
    cmd: python measure.py
    params: [seed, rate]
    metrics: [metrics/evaluate.json: {cache: false}]
"""
MEASURE = """
import json, pathlib, yaml
params = yaml.safe_load(open("params.yaml"))
assert params["rate"] != 9
pathlib.Path("metrics").mkdir(exist_ok=True)
pathlib.Path("metrics/evaluate.json").write_text(json.dumps({"final/mAP": params["seed"] * params["rate"]}))
"""


@pytest.mark.slow
def test_experiments_of_dvc_are_runs(tmp_path, monkeypatch, capsys):
    """DVC's own output, of a pipeline of one quick stage: commits, experiments, a queued one, another commit."""
    (tmp_path / "dvc.yaml").write_text(STAGES)
    (tmp_path / "measure.py").write_text(MEASURE)
    (tmp_path / "params.yaml").write_text("seed: 1\nrate: 0.5\nname: quick\n")
    for command in ("init --quiet", "config user.name test", "config user.email test@example.org"):
        run(tmp_path, "git", *command.split())
    run(tmp_path, "dvc", "init", "--quiet")
    run(tmp_path, "dvc", "repro")
    run(tmp_path, "git", "add", "--all")
    run(tmp_path, "git", "commit", "--quiet", "-m", "seed 1")
    run(tmp_path, "dvc", "exp", "run", "-S", "seed=2")
    run(tmp_path, "dvc", "exp", "run", "-S", "rate=2.0")
    found = compare_runs(dvc_runs(tmp_path))
    assert found["name"].tolist() == ["quick", "quick"]
    assert found["differs"].tolist() == ["rate=2.0", "rate=0.5"]
    assert found["seeds"].tolist() == [1, 2]
    assert found["final/mAP"].tolist() == pytest.approx([4.0, 0.75])  # the second -S keeps the workspace's seed
    assert found["final/mAP sd"][1] == pytest.approx(statistics.stdev([0.5, 1.0]))
    run(tmp_path, "dvc", "exp", "run", "--queue", "--name", "waiting", "-S", "seed=3")
    with pytest.warns(UserWarning, match="left out, without metrics/evaluate.json .*: waiting"):
        assert len(dvc_runs(tmp_path)) == 3
    run(tmp_path, "git", "commit", "--quiet", "--allow-empty", "-m", "later")
    assert len(dvc_runs(tmp_path)) == 1
    with pytest.warns(UserWarning, match="waiting"):
        assert len(dvc_runs(tmp_path, all_commits=True)) == 4
    monkeypatch.chdir(tmp_path)
    main(["--metrics", "final/mAP"])
    assert "0.5000" in capsys.readouterr().out


def test_a_folder_without_dvc_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"`dvc exp show` failed; run in the pipeline's repository"):
        dvc_runs(tmp_path)
