"""Every recipe from start to end on a tiny set: some as experiments of `dvc`, the others in this process.

In process the stages are called with the paths that dvc.yaml has for them.
"""

import importlib
import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from omegaconf import OmegaConf

from reidlib.commands import compose
from reidlib.embed import embed
from reidlib.images.identities import write_identities
from reidlib.images.split import open_split, write_rows
from reidlib.labels.global_labelling import global_labelling
from reidlib.labels.icsr import global_labels
from reidlib.models.embedder import load_embedder
from reidlib.models.grouped_norm import GroupedBatchNorm
from reidlib.settings import load_params
from reidlib.training import loop
from tests.repository import ROOT, TINY, make_repository, run

pytestmark = pytest.mark.slow
RECIPES = sorted(path.stem for path in (ROOT / "conf/recipe").glob("*.yaml"))
# The demo is the default's experiment, the end-to-end tests are icsr's; benchmarks.recipes runs all so. Each costs a
# core 45 seconds here, in process a fifth.
UNDER_DVC = ["gam"]
WITHOUT_CAMERAS = ["icsr", "camera_proxy", "iids", "calr", "spcl"]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
REPLACED = ("recipe=", "clustering@", "refine.method", "refine.nodes", "train_")
SMALL = [value for value in TINY if not value.startswith(REPLACED)]


def small(recipe):
    """Overrides with which a recipe is over in seconds: two batches an epoch, few epochs, linkage for DBSCAN."""
    values = compose.compose_values([f"recipe={recipe}"])
    epochs = [f"demo.inter_epochs={5 if values['train_inter']['alternate'] else 2}"]
    epochs += ["demo.intra_epochs=1"] if values["train_intra"]["epochs"] else []
    clustering = ["clustering@refine.method=linkage", "refine.method.images_per_cluster=8"]
    clustering = clustering if values["refine"]["method"]["name"] == "dbscan" else []
    few = [f"train_{stage}.iterations=2" for stage in ("intra", "inter")]
    wide = ["model.height_px=64", "model.width_px=32", "train_intra.iterations=4", "train_inter.iterations=4"]
    wide = wide if recipe == "iids_convnext" else []
    return [f"recipe={recipe}", *SMALL, *few, *epochs, *clustering, *wide]


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A tiny repository whose archive has been unzipped."""
    folder = tmp_path_factory.mktemp("recipes")
    make_repository(folder)
    run(folder, "dvc", "repro", "unzip")
    return folder


@pytest.fixture
def unzipped(repository, tmp_path, monkeypatch):
    """A working folder with the images and identities of the tiny set alone."""
    (tmp_path / "data/synthetic").mkdir(parents=True)
    (tmp_path / "data/weights").mkdir()
    (tmp_path / "metrics").mkdir()
    (tmp_path / "data/synthetic/images").symlink_to(repository / "data/synthetic/images")
    for name in ("identities", "names"):
        shutil.copy(repository / f"data/synthetic/{name}.parquet", tmp_path / "data/synthetic")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def measured(folder):
    values = json.loads((folder / "metrics/evaluate.json").read_text())
    assert 0 <= values["inter_mAP"] <= 100
    return values


def in_process(overrides):
    """Compose, then call every stage after `unzip` with the paths of dvc.yaml."""
    compose.main(overrides)
    values = OmegaConf.create(yaml.safe_load(Path("params.yaml").read_text()))
    for name, stage in STAGES.items():
        if name != "unzip":
            words = OmegaConf.to_container(OmegaConf.merge(values, {"cmd": stage["cmd"]}), resolve=True)["cmd"].split()
            paths = {key[2:].replace("-", "_"): Path(path) for key, path in pairwise(words) if key.startswith("--")}
            importlib.import_module(f"stages.{name}").main(**paths)


@pytest.mark.parametrize("recipe", UNDER_DVC)
def test_a_recipe_is_an_experiment_that_unzips_nothing_anew(repository, recipe):
    experiment = ["dvc", "exp", "run", "evaluate", *(word for value in small(recipe) for word in ("-S", value))]
    output = run(repository, *experiment)
    assert "Stage 'unzip' didn't change, skipping" in output and "Running stage 'evaluate'" in output
    assert yaml.safe_load((repository / "params.yaml").read_text())["name"] == recipe
    measured(repository)


@pytest.mark.parametrize("recipe", sorted({*RECIPES} - {*UNDER_DVC}))
def test_a_recipe_goes_from_images_to_figures(unzipped, recipe):
    if "assisted" in recipe:
        first, second = open_split(unzipped / "data/synthetic/images/train").ids[[0, 5]]
        (unzipped / "data/synthetic/links.csv").write_text(f"first,second,answer\n{first},{second},same\n")
    in_process(small(recipe))
    assert load_params("name") == {"name": recipe}
    measured(unzipped)


@pytest.mark.parametrize("recipe", RECIPES)
def test_batches_of_a_recipe_can_be_normalised_whatever_the_number_of_cameras(recipe):
    """Of the known datasets: 2 (CUHK03) to 20 (VeRi-776)."""
    values = compose.compose_values([f"recipe={recipe}", "dataset=market1501"])
    for section in ("train_intra", "train_inter"):
        plan = values[section]
        norm = GroupedBatchNorm(2, group=plan["batch_norm_group"] or values["model"]["batch_norm_group"])
        images = plan["clusters_per_batch"] * plan["images_per_cluster"]
        for cameras in range(1, 21) if plan["sampling"] in ("every_camera", "shuffled") else [1]:
            assert norm(torch.randn(images * cameras, 2)).shape == (images * cameras, 2)


def test_without_an_intra_network_the_first_global_labels_come_from_the_initial_embeddings(unzipped):
    in_process([*small("cluster_contrast_hard"), "extract.descriptor=colour_stripes"])
    params = load_params("seed", "dataset.camera_labels", "refine")
    features, split = np.load("data/synthetic/features/train.npy"), open_split(Path("data/synthetic/images/train"))
    network = load_embedder(Path("data/synthetic/features/model.safetensors"))
    assert not np.allclose(features, embed(network, split.images), atol=0.1)
    local, found = (pd.read_parquet(f"data/synthetic/{name}labels.parquet") for name in ("local_", "refined_"))
    assert set(local["label"]) == {-1}  # this recipe has no use for local labels
    labelling, seed = global_labelling(params), params["seed"]
    expected = global_labels(features, local["label"].to_numpy(), split.cameras, labelling=labelling, seed=seed)
    np.testing.assert_array_equal(found["label"], expected.labels)
    epochs = pd.read_parquet("data/synthetic/inter/epochs.parquet")
    np.testing.assert_array_equal(epochs[epochs["epoch"] == 0]["label"], expected.labels)


@pytest.mark.parametrize("recipe", WITHOUT_CAMERAS)
def test_a_recipe_trains_without_camera_labels(unzipped, recipe):
    in_process([*small(recipe), "dataset.camera_labels=false"])
    assert measured(unzipped)["inter_camera_span"] == 0
    assert set(open_split(Path("data/synthetic/images/train"), camera_labels=False).cameras) == {0}


def another_dataset(folder, *, height_px=32):
    """The tiny set once more, darker, under the name `other`; returns what of it is known to be of one person."""
    own, other = folder / "data/synthetic", folder / "data/other"
    rows, people = pd.read_parquet(own / "images/train/rows.parquet"), pd.read_parquet(own / "identities.parquet")
    names = {image: f"{(int(image, 16) ^ 1):016x}" for image in people["image"]}  # images of other names
    renamed = rows.assign(image=rows["image"].map(names)).sort_values("image")
    (other / "images/train").mkdir(parents=True)
    np.save(other / "images/train/pixels.npy", np.load(own / "images/train/pixels.npy")[renamed.index, :height_px] // 2)
    write_rows(other / "images/train", renamed.reset_index(drop=True))
    write_identities(other / "identities.parquet", people.assign(image=people["image"].map(names)))


def test_identities_of_another_dataset_are_classes_beside_the_clusters(unzipped, monkeypatch):
    another_dataset(unzipped)
    (unzipped / "data/synthetic/identities.parquet").rename(unzipped / "away")  # only evaluate may miss them
    seen = []
    train = loop.train

    def spying(model, crops, cameras, **values):
        history = train(model, crops, cameras, **values)
        seen.append((len(crops), cameras, history.labels[-1]))
        return history

    monkeypatch.setattr(loop, "train", spying)
    with pytest.raises(OSError, match=r"data/synthetic/identities\.parquet"):
        in_process([*small("spcl"), "source=other", "source.name=other"])
    [(images, cameras, labels)] = seen
    own = len(open_split(Path("data/synthetic/images/train")))
    people = pd.read_parquet("data/other/identities.parquet").set_index("image")["identity"]
    people = people.reindex(open_split(Path("data/other/images/train")).ids).to_numpy()
    assert images == 2 * own and len(labels) == images
    same = people[:, None] == people
    np.testing.assert_array_equal(labels[own:, None] == labels[own:], same)
    assert labels[own:].min() > labels[:own].max() and set(cameras[:own]).isdisjoint(cameras[own:])
    written = pd.read_parquet("data/synthetic/inter/labels.parquet")
    np.testing.assert_array_equal(written["label"], labels[:own])
    assert pd.read_parquet("data/synthetic/inter/epochs.parquet")["row"].max() == own - 1


@pytest.mark.parametrize(
    ("more", "height_px", "words"),
    [
        ([], 16, "data/other/images/train: expected images of 32 x 16 pixels"),
        (["+train_inter.loss.teacher={}"], 32, "source: .*loss.teacher"),
        (["+train_inter.alternate={intra_epochs: 1, inter_epochs: 1}"], 32, "source: .*alternate"),
    ],
)
def test_a_source_that_does_not_fit_is_refused(unzipped, more, height_px, words):
    another_dataset(unzipped, height_px=height_px)
    with pytest.raises(ValueError, match=words):
        in_process([*small("cluster_contrast"), "source=other", "source.name=other", *more])


def test_direct_transfer_runs_when_asked_and_says_of_a_copy_what_evaluate_says(repository):
    compose.main([*small("cluster_contrast"), "transfer.datasets=[copy]"], path=repository / "params.yaml")
    output = run(repository, "dvc", "repro")
    assert "transfer" not in output
    shutil.copytree(repository / "data/synthetic/images", repository / "data/copy/images")
    shutil.copy(repository / "data/synthetic/identities.parquet", repository / "data/copy")
    output = run(repository, "dvc", "repro", "transfer/dvc.yaml")
    assert output.count("Running stage") == 1 and "Running stage 'transfer/dvc.yaml:transfer@copy'" in output
    found = json.loads((repository / "metrics/transfer_copy.json").read_text())
    known = {f"inter_{name}": value for name, value in found.items() if not name.endswith("queries")}
    assert {"mAP", "mINP", "rank1", "queries"} <= set(found) and known.items() <= measured(repository).items()
