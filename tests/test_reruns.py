"""What DVC runs again after an edit: files are touched in a copy of the repository, and `dvc status` is asked.

Nothing is run: every artifact is a small file that `dvc commit` takes for what the stages wrote.
"""

from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from tests.repository import make_repository, run

LABEL = {"cluster", "train_intra", "refine", "train_inter", "calibrate", "evaluate", "report"}
TRAIN = {"train_intra", "train_inter"}
NETWORK = {"extract", "train_intra", "train_inter", "embed", "export", "report"}
TOLD = {"evaluate", "report"}
DATA = "data/synthetic"

ARTIFACTS = [
    "raw/synthetic.zip", "images/train/pixels.npy", "images/train/rows.parquet", "images/query/pixels.npy",
    "images/gallery/rows.parquet", "identities.parquet", "names.parquet", "features/train.npy",
    "local_labels.parquet", "intra/labels.parquet", "refined_labels.parquet", "inter/labels.parquet",
    "embeddings/query/inter.npy", "clusters/images.csv",
    "calibration.json", "model/README.md",
]  # fmt: skip
EDITS = {  # a file, and the stages that run again because of it
    "reidlib/archives/readers.py": {"unzip"},
    "reidlib/archives/decode.py": {"unzip"},
    "reidlib/synthetic/figure.py": {"synthesize"},
    "reidlib/losses/triplet.py": TRAIN,
    "reidlib/training/loop.py": TRAIN,
    "reidlib/models/osnet.py": NETWORK,
    "reidlib/embed.py": NETWORK,
    "reidlib/batches/augment.py": NETWORK,
    "reidlib/labels/dbscan.py": LABEL,
    "reidlib/neighbours/jaccard.py": LABEL - {"calibrate"},
    "reidlib/calibration/fit.py": {"calibrate", "export"} | TOLD,
    "reidlib/export/card.py": {"export"},
    "reidlib/retrieval/metrics.py": TOLD,
    "reidlib/report/style.py": TOLD,
    "reidlib/report/assets/map.js": TOLD,
    "reidlib/heatmaps.py": {"report"},
    "reidlib/gallery/search.py": set(),
    "reidlib/commands/doctor.py": set(),
    "reidlib/commands/compose.py": set(),
    "reidlib/settings.py": set(),
    "reidlib/check.py": set(),
    "reidlib/running.py": set(),
    "reidlib/__main__.py": set(),
    "conf/config.yaml": set(),
    "stages/refine.py": {"refine"},
    "stages/evaluate.py": {"evaluate"},
    f"{DATA}/raw/synthetic.zip": {"synthesize", "unzip"},
    f"{DATA}/images/query/pixels.npy": {"unzip", "embed"} | TOLD,
    f"{DATA}/images/gallery/rows.parquet": {"unzip", "embed"} | TOLD,
    f"{DATA}/identities.parquet": {"unzip"} | TOLD,
    f"{DATA}/names.parquet": {"unzip"} | TOLD,
    f"{DATA}/embeddings/query/inter.npy": {"embed", "calibrate"} | TOLD,
    f"{DATA}/calibration.json": {"calibrate", "export"} | TOLD,
    "metrics/report.html": {"report"},
}
VALUES = {  # a value of params.yaml, and the stages that run again because of it
    "train_inter.epochs": {"train_inter"},
    "train_intra.epochs": {"train_intra", "train_inter"},
    "evaluate.ranked_queries": {"evaluate"},
    "report.pictures": {"report"},
    "evaluate.tracklets": {"evaluate"},
    "evaluate.false_match_rate": {"evaluate", "export"},
    "calibrate.images": {"calibrate"},
    "export.onnx": {"export"},
    "embed.flip": {"embed", "export"},
    "augment.flip": TRAIN,
    "compute.log_every": set(),
    "compute.checkpoint_minutes": set(),
    "unzip.workers": {"unzip"},
    "refine.nodes": {"refine", "train_inter", "report"},
    "dataset.reader": {"unzip"},
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A repository in which every stage has run, as far as DVC can tell."""
    folder = tmp_path_factory.mktemp("reruns")
    make_repository(folder)
    for name in ARTIFACTS:
        write(folder / DATA / name, name)
    for stage in (
        "unzip",
        "extract",
        "cluster",
        "train_intra",
        "refine",
        "train_inter",
        "embed",
        "calibrate",
        "evaluate",
        "export",
        "report",
    ):
        write(folder / f"metrics/{stage}.json", "{}")
    for name in ("train_intra.csv", "train_inter.csv", "evaluate/cmc.csv", "report.html"):
        write(folder / "metrics" / name, "epoch,loss\n")
    run(folder, "dvc", "commit", "--force")
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def changed(folder: Path) -> set[str]:
    """The stages that DVC would run again."""
    with Repo(str(folder)) as repo:
        return {stage.split(":")[-1] for stage in repo.status()}


def test_nothing_runs_again_without_an_edit(repository):
    assert changed(repository) == set()


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_runs_again_what_it_concerns_and_nothing_else(repository, name):
    path = repository / name
    before = path.read_bytes()
    path.chmod(0o644)
    path.unlink()  # a file that DVC linked into its cache must not be written through
    path.write_bytes(before + b"\n# a comment\n")
    try:
        assert changed(repository) == EDITS[name]
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("name", VALUES)
def test_a_value_runs_again_what_it_concerns_and_nothing_else(repository, name):
    path = repository / "params.yaml"
    before = path.read_text()
    values = yaml.safe_load(before)
    section, key = name.split(".")
    values[section][key] = "another"
    path.write_text(yaml.safe_dump(values))
    try:
        assert changed(repository) == VALUES[name]
    finally:
        path.write_text(before)
