"""The pipeline as a user runs it: real `dvc` in a clone, a tiny synthetic set, then somebody's own crops."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

import reidlib
from benchmarks.without_dvc import needed, run_all, run_pipeline
from reidlib.archives.table import image_id
from reidlib.commands.table import main
from reidlib.images.split import read_rows
from reidlib.running import PATIENCE, POOLS
from tests import torture
from tests.films import make_footage
from tests.repository import ROOT, TINY, environment, make_repository, run
from tests.test_docs import blocks


def stages_run(output):
    return [line.split("'")[1].split(":")[-1] for line in output.splitlines() if line.startswith("Running stage")]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A git repository with today's sources (compiled kernels included) and tiny parameters, run once."""
    folder = tmp_path_factory.mktemp("clone")
    run(ROOT, sys.executable, "-m", "reidlib", "warm")
    make_repository(folder)
    shutil.copytree(folder / "reidlib", folder.parent / "warmed", ignore=shutil.ignore_patterns("*.py", "*.pyc"))
    output = run(folder, "dvc", "repro")
    assert stages_run(output) == [
        "synthesize", "unzip", "extract", "cluster", "train_intra", "refine", "train_inter", "embed", "calibrate",
        "evaluate", "export", "report",
    ]  # fmt: skip
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "-m", "ran")
    return folder


def metrics(folder, stage="evaluate"):
    return json.loads((folder / f"metrics/{stage}.json").read_text())


@pytest.mark.slow
def test_the_pipeline_writes_what_it_promises(clone):
    values = metrics(clone)
    for model in ("initial", "intra", "inter"):
        for name in ("mAP", "mINP", "rank1", "rank5", "rank10"):
            assert 0 <= values[f"{model}_{name}"] <= 100
    assert {f"metrics/{stage}.json" for stage in ("unzip", "extract", "cluster", "train_intra", "refine")} <= {
        str(path.relative_to(clone)) for path in (clone / "metrics").glob("*.json")
    }
    pictures = {path.stem for path in (clone / "metrics/evaluate").glob("*.png")}
    assert {
        "train_intra",
        "train_inter",
        "label_quality_intra",
        "label_quality_inter",
        "cmc",
        "det",
        "ranked_lists",
    } == pictures
    assert 0 <= values["inter_calibration_error"] <= 1 and 0 <= values["inter_false_match_rate"] <= 1
    assert "inter_mAP" in run(clone, "dvc", "metrics", "show")
    assert run(clone, "git", "status", "--porcelain") == ""  # artifacts are ignored, what should be committed is
    text = run(clone, sys.executable, "-m", "reidlib", "show", "metrics")
    assert "after train_inter" in text and text.rstrip().endswith("metrics/report.html")
    page = (clone / "metrics/report.html").read_text()
    assert f"{metrics(clone)['inter_mAP']:.1f}" in page and metrics(clone, "report")["bytes"] == len(page.encode())


def run_alone(folder, job):
    """Run the pipeline without DVC on the archive that DVC has, in a worker of `run_all`."""
    if job["values"] is None:
        os._exit(3)
    shutil.copytree(job["raw"], folder / "data/synthetic/raw", dirs_exist_ok=True)
    (folder / "data/weights").mkdir(exist_ok=True)
    output = run_pipeline(folder, job["values"])
    files = [] if output else ["params.yaml", "metrics/evaluate.json"]
    return job | {"error": output, "files": {name: (folder / name).read_text() for name in files}}


@pytest.mark.slow
def test_without_dvc_the_same_is_measured_and_a_failed_run_ends_no_other(clone, monkeypatch):
    for name in ("REID_THREADS", *POOLS, *PATIENCE):
        monkeypatch.setenv(name, os.environ.get(name, "1"))  # restored after `run_all` has set them
    runs = {"mistyped": ["recipe=icsrr"], "died": None, "missing": ["dataset=folder"], "whole": TINY, "again": TINY}
    jobs = [{"name": name, "values": values, "raw": clone / "data/synthetic/raw"} for name, values in runs.items()]
    found = {line["name"]: line for line in run_all(jobs, measure=run_alone, workers=1)}
    assert list(found) == list(runs)
    assert found["mistyped"]["error"].startswith("error: conf/ does not compose with ['recipe=icsrr']")
    assert found["died"]["error"].startswith("error: the process ended (3)")
    assert "data/folder/raw" in found["missing"]["error"]
    for name in ("whole", "again"):
        assert found[name]["error"] == ""
        for file, text in found[name]["files"].items():
            assert text == run(clone, "git", "show", f"HEAD:{file}")


def test_without_dvc_no_run_begins_when_time_is_over():
    assert list(run_all([{"name": "late"}], measure=run_alone, workers=1, seconds=0)) == []


def test_stages_that_evaluate_needs():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert needed(stages, until="evaluate") == [name for name in stages if name not in ("export", "report")]
    assert needed(stages, until="cluster") == ["unzip", "extract", "cluster"]


@pytest.mark.slow
def test_no_stage_compiles_a_kernel_after_reidlib_warm(clone):
    before, after = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*.nb[ci]")}
        for root in (clone.parent / "warmed", clone / "reidlib")
    )
    assert len(before) > 100 and after == before


@pytest.mark.slow
def test_the_model_opened_anywhere_gives_the_vectors_of_the_stage_embed(clone, tmp_path):
    model = reidlib.load(shutil.copy(clone / "data/synthetic/model/model.safetensors", tmp_path))
    assert model.name == "model (icsr on synthetic)" and model.size_px == (32, 16)
    rows = read_rows(clone / "data/synthetic/embeddings/gallery")["image"].tolist()
    with zipfile.ZipFile(clone / "data/synthetic/raw/synthetic.zip") as archive:
        names = [name for name in archive.namelist() if image_id(name.encode()) in rows]
        archive.extractall(tmp_path, names)
    expected = np.load(clone / "data/synthetic/embeddings/gallery/inter.npy")
    found = model.embed([tmp_path / name for name in names])
    assert len(names) == len(rows) > 5
    np.testing.assert_allclose(found, expected[[rows.index(image_id(name.encode())) for name in names]], atol=1e-5)


@pytest.mark.slow
def test_a_second_repro_runs_nothing(clone):
    assert stages_run(run(clone, "dvc", "repro")) == []


@pytest.mark.slow
def test_only_what_depends_on_a_change_runs_again(clone):
    before = metrics(clone)
    output = run(clone, "dvc", "exp", "run", "-S", "evaluate.ranked_queries=1", *(f"-S{value}" for value in TINY[:-1]))
    assert stages_run(output) == ["evaluate", "report"]
    assert metrics(clone) == before
    page = clone / "reidlib/report/style.py"
    page.write_text(page.read_text() + "\n# a comment\n")
    assert stages_run(run(clone, "dvc", "repro")) == ["evaluate", "report"]
    run(clone, "git", "checkout", "--quiet", ".")
    assert stages_run(run(clone, "dvc", "repro")) == []  # what was there before is in the cache


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(clone):
    names = ["metrics/train_inter.csv", "data/synthetic/inter/labels.parquet", "data/synthetic/inter/model.safetensors"]
    first = [(clone / name).read_bytes() for name in names], metrics(clone)
    output = run(
        clone, "dvc", "repro", "--force", "--single-item", "train_intra", "refine", "train_inter", "embed",
        "calibrate", "evaluate"
    )  # fmt: skip
    assert stages_run(output) == ["train_intra", "refine", "train_inter", "embed", "calibrate", "evaluate"]
    assert ([(clone / name).read_bytes() for name in names], metrics(clone)) == first
    output = run(clone, "dvc", "exp", "run", "evaluate", "-S", "seed=2", *(f"-S{value}" for value in TINY))
    assert "extract" in stages_run(output) and "unzip" not in stages_run(output)
    assert [(clone / name).read_bytes() for name in names] != first[0]
    assert "inter_mAP" in run(clone, "dvc", "metrics", "diff", "HEAD")


@pytest.mark.slow
def test_killed_and_run_again_is_as_never_killed(clone, tmp_path):
    """The short version of `make torture`: every output of the stage, byte for byte."""
    folder = shutil.copytree(clone, tmp_path / "clone", symlinks=True)
    run(folder, sys.executable, "-m", "reidlib", "compose", *torture.SETTINGS)
    run(folder, "dvc", "repro", "refine")
    counts = torture.torture(folder, rounds=3, seed=1, stages=["train_inter"])
    assert counts["kills"] >= 3 and counts["runs ended"] >= 1
    assert counts["outputs that differ"] == 0 and counts["scratch folders left behind"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", [[], ["--temp"]])
def test_a_killed_experiment_goes_on_from_its_checkpoint(clone, tmp_path, kind):
    folder = shutil.copytree(clone, tmp_path / "clone", symlinks=True)
    longer = ["train_inter.iterations=40", "compute.checkpoint_minutes=1e-9"]
    command = ["dvc", "exp", "run", "train_inter", *kind, *(f"-S{value}" for value in [*TINY, *longer])]
    process = subprocess.Popen(command, cwd=folder, env=environment(), start_new_session=True)
    wait_for(lambda: any(folder.glob(".scratch/train_inter/*/[0-9]*.safetensors")))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (folder / ".dvc/tmp/rwlock").unlink(missing_ok=True)
    page = folder / "reidlib/report/style.py"  # which training does not use
    page.write_text(page.read_text() + "\n# a comment\n")
    output = run(folder, *command)
    assert "going on from epoch" in output and not any(folder.glob(".scratch/train_inter/*"))


def queued(folder, name, command):
    """Queue an experiment, start a worker, and return when it trains."""
    run(folder, *command, "--queue", "--name", name)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}  # a pipe would stay open as long as the worker
    subprocess.run(["dvc", "queue", "start"], cwd=folder, env=environment(), check=True, **quiet)
    wait_for(lambda: any(folder.glob(".scratch/train_inter/*/[0-9]*.safetensors")))


def wait_for(condition, *, seconds=1200):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_killed_experiment_of_the_queue_goes_on_from_its_checkpoint(clone, tmp_path):
    folder = shutil.copytree(clone, tmp_path / "clone", symlinks=True)
    longer = ["train_inter.iterations=40", "compute.checkpoint_minutes=1e-9"]
    command = ["dvc", "exp", "run", "train_inter", *(f"-S{value}" for value in [*TINY, *longer])]
    try:
        queued(folder, "killed", command)
        for trainer in torture.trainers("train_inter", below=folder):
            os.kill(trainer, signal.SIGKILL)
        wait_for(lambda: "Failed" in run(folder, "dvc", "queue", "status"))
        queued(folder, "again", command)
        wait_for(lambda: "Success" in run(folder, "dvc", "queue", "status"))
        assert "going on from epoch" in run(folder, "dvc", "queue", "logs", "again")
        assert not any(folder.glob(".scratch/train_inter/*"))
    finally:
        run(folder, "dvc", "queue", "stop", "--kill")


@pytest.mark.slow
def test_two_processes_train_under_dvc(clone, tmp_path, monkeypatch):
    folder = shutil.copytree(clone, tmp_path / "clone", symlinks=True)
    alone = pd.read_csv(folder / "metrics/train_inter.csv")
    monkeypatch.setenv("REID_NPROC", "2")
    run(folder, "dvc", "repro", "--force", "--single-item", "train_inter")
    pd.testing.assert_frame_equal(pd.read_csv(folder / "metrics/train_inter.csv"), alone, atol=1e-3)


@pytest.mark.slow
def test_wrong_parameters_and_clusterings_stop_with_what_to_do(clone):
    output = run(clone, "dvc", "exp", "run", "-S", "train_inter.epoch=3", ok=False)
    assert "train_inter.epoch" in output
    output = run(clone, "dvc", "exp", "run", "-S", "train_inter.epochs=many", *(f"-S{v}" for v in TINY[:6]), ok=False)
    assert "train_inter.epochs" in output and "'many'" in output
    other = [
        "clustering@refine.method=dbscan",
        "refine.method.eps=0.001",
        "refine.method.min_samples=50",
        *(v for v in TINY if "method" not in v),
    ]
    output = run(clone, "dvc", "exp", "run", *(f"-S{value}" for value in other), ok=False)
    assert "move dbscan's eps (now 0.001)" in output and "50 % within" in output
    run(clone, "git", "checkout", "--quiet", ".")
    run(clone, "dvc", "checkout", "--force")


def own_crops(path):
    """A zip of three people on two cameras, camera folders with tracklets, no identities."""
    generator = np.random.default_rng(0)
    colours = generator.integers(40, 216, (6, 3))
    with zipfile.ZipFile(path, "w") as archive:
        for camera in ("door", "yard"):
            for person, colour in enumerate(colours):
                for image in range(4):
                    pixels = (colour + generator.integers(-30, 31, (40, 20, 3))).clip(0, 255).astype(np.uint8)
                    stream = BytesIO()
                    Image.fromarray(pixels).save(stream, "PNG")
                    archive.writestr(f"{camera}/track{person}/{image:03d}.png", stream.getvalue())


def paste(folder, page, *, values):
    """Run every line of a page's shell blocks but those that install; `values` make what is composed small."""
    told = []
    for line in [line for block in blocks(page, "sh") for line in block.splitlines()]:
        program, *words = shlex.split(line, comments=True)
        if program == "reidlib":
            main(words)
        elif program != "pip":
            told.append(run(folder, program, *words, *(values if "compose" in words else ())))
    return "".join(told)


@pytest.mark.slow
def test_somebodys_own_footage_goes_all_the_way_without_identities(clone, monkeypatch, capsys):
    """Every line of docs/own-footage.md, on two drawn videos; then corrections as in docs/own-data.md."""
    make_footage(clone)
    monkeypatch.chdir(clone)
    monkeypatch.setattr(
        "reidlib.footage.detection.detector", lambda *_, **__: lambda _: np.array([[40.0, 24, 32, 64, 1]])
    )
    small = [value for value in TINY if not value.startswith(("synthesize", "unzip"))]
    small += ["unzip.height_px=32", "unzip.width_px=16"]
    network = ["model.backbone=resnet18_half", "extract.weights=random", "extract.descriptor=colour_stripes"]
    network += ["extract.across=null"]  # icsr's second network wants a file of weights
    output = paste(clone, (ROOT / "docs/own-footage.md").read_text(), values=[*small, *network])
    answers = capsys.readouterr().out.partition("yard/yard-000001")
    assert answers[1] and "door" in answers[2]  # one tracklet on the other camera, then another's average
    times = read_rows(clone / "data/folder/images/train")
    assert times["time_seconds"].between(0, 1.7).all() and times["tracklet"].nunique() == 12
    assert "cannot be known" in output and "synthesize" not in stages_run(output)
    values = metrics(clone)
    assert {"inter_clusters", "inter_outlier_share", "inter_silhouette", "inter_camera_span"} <= set(values)
    assert not any("mAP" in name for name in values)
    assert "crops.zip: 48 images, 2 cameras, 0 people in 0 images" in output
    table = pd.read_csv(clone / "data/folder/clusters/images.csv")  # which of my files are whom
    with zipfile.ZipFile(clone / "data/folder/raw/crops.zip") as archive:
        assert sorted(table["path"]) == sorted(name for name in archive.namelist() if name.endswith(".jpg"))
    assert table["camera"].tolist() == [path.split("/")[1] for path in table["path"]]
    assert table["cluster"].nunique() >= values["inter_clusters"]
    page = (clone / "metrics/report.html").read_text()
    assert table["path"][0] in page and "No identity of queries and gallery is known" in page
    assert {path.stem for path in (clone / "metrics/evaluate").glob("*.png")} == {"train_intra", "train_inter"}
    corrections = (ROOT / "docs/own-data.md").read_text().split("```python\n")[1].split("```")[0]
    run(clone, sys.executable, "-c", corrections)
    with zipfile.ZipFile(clone / "data/folder/raw/crops.zip", "a") as archive:
        archive.write(clone / "identities.csv", "identities.csv")
    (clone / "identities.csv").unlink()
    run(
        clone,
        sys.executable,
        "-m",
        "reidlib",
        "compose",
        "dataset=folder",
        "dataset.camera_labels=false",
        *small,
        *network,
    )
    run(clone, "dvc", "repro", "evaluate")
    values = metrics(clone)
    assert values["inter_camera_span"] == 0 and 0 < values["inter_pairwise_f"] <= 1
    assert yaml.safe_load((clone / "params.yaml").read_text())["dataset"]["camera_labels"] is False


@pytest.mark.slow
def test_missing_archives_are_answered_with_what_to_do(clone):
    run(clone, sys.executable, "-m", "reidlib", "compose", "dataset=market1501")
    output = run(clone, "dvc", "repro", ok=False)
    assert "data/market1501/raw" in output and ".zip" in output
    assert not (clone / "data/market1501/images").exists()
