"""The table of metrics: order, formats, what is said where there is nothing to say."""

import json

import pytest
from rich.console import Console

from reidlib.commands.compose import main
from reidlib.commands.show import print_metrics
from reidlib.report.measured import read_metrics


def write(folder, **stages):
    folder.mkdir(exist_ok=True)
    for stage, values in stages.items():
        (folder / f"{stage}.json").write_text(json.dumps(values))
    return folder


def printed(folder, width=100):
    console = Console(width=width, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    with console.file:
        print_metrics(folder, console=console)
        return console.export_text()


def test_stages_come_in_the_order_of_the_pipeline(tmp_path):
    folder = write(tmp_path, zeta={"a": 1}, evaluate={"b": 1}, unzip={"c": 1}, train_inter={"d": 1}, cluster={"e": 1})
    assert list(read_metrics(folder)) == ["unzip", "cluster", "train_inter", "evaluate", "zeta"]


def test_retrieval_is_a_table_of_models(tmp_path):
    names = [f"{model}_{name}" for model in ("initial", "intra", "inter") for name in ("mAP", "mINP", "rank1")]
    values = {**dict.fromkeys(names, 10.25), "pairwise_f": 0.5}
    folder = write(tmp_path, unzip={"train_images": 12936, "time_seconds": 3.25}, evaluate=values)
    (folder / "curves").mkdir()
    (folder / "curves" / "cmc.png").touch()
    text = printed(folder)
    assert "12,936" in text
    assert "time seconds" in text
    assert "initial mAP" not in text
    (row,) = [line for line in text.splitlines() if "initial features" in line]
    assert row.count("10.2") == 3
    assert "cmc.png" in text
    assert "dvc repro" in text and "browser" not in text
    (folder / "report.html").touch()
    assert printed(folder).splitlines()[-1].endswith("report.html")  # the last thing that `make demo` says


def test_the_next_command_repeats_what_was_chosen(tmp_path):
    main(["dataset=folder", "dataset.camera_labels=false", "train_inter.epochs=7"], path=tmp_path / "params.yaml")
    folder = write(tmp_path / "metrics", evaluate={"clusters": 40})
    text = " ".join(printed(folder, width=200).split())
    assert "dvc exp run -S dataset=folder -S dataset.camera_labels=false -S train_inter.epochs=20 " in text
    main([], path=tmp_path / "params.yaml")
    assert "dvc exp run -S train_inter.epochs=20 " in " ".join(printed(folder, width=200).split())


def test_no_retrieval_no_table(tmp_path):
    text = printed(write(tmp_path, evaluate={"clusters": 40, "silhouette": 0.25}))
    assert "Retrieval" not in text
    assert "0.25" in text


@pytest.mark.parametrize("values", [[1, 2], {"a": {"b": 1}}, {"a": "text"}, {"a": float("nan")}])
def test_other_json_is_refused(tmp_path, values):
    with pytest.raises(ValueError, match=r"unzip.json: expected a flat object of finite numbers"):
        read_metrics(write(tmp_path, unzip=values))


def test_an_empty_folder_says_what_to_run(tmp_path):
    with pytest.raises(ValueError, match="run `dvc repro` first"):
        read_metrics(tmp_path)
