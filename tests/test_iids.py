"""IIDS: its composed values against a table of the published ones, and rounds on sets of 6, 8, 15 and 20 cameras."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from reidlib.check import check_params
from reidlib.commands.compose import compose_values
from reidlib.embed import embed
from reidlib.images.split import Split
from reidlib.labels.local import LocalLabelling, local_labels
from reidlib.models.architecture import Architecture
from reidlib.models.camera_norm import CameraNorm
from reidlib.models.embedder import new_embedder
from reidlib.settings import arguments
from reidlib.training import loop
from reidlib.training.phases import read_across

# Of the published code and its run scripts; ImageNet-22k weights and values of both recipes that are one for all sets.
SHARED = {
    "extract.weights": "imagenet", "extract.flip": True, "embed.flip": True, "model.embedding": "before_neck",
    "augment.flip": 0.5, "augment.pad": 10, "augment.erase": 0.5, "augment.erase_like": "authors",
    "unzip.interpolation": "bicubic", "compute.precision": "fp32",
    "cluster.k1": 21, "cluster.k2": 6, "cluster.original_weight": 0.3, "cluster.relative": True,
    "cluster.method": {"name": "linkage", "quantile": 0.0025, "singletons": "outliers"},
    "refine.k1": 21, "refine.k2": 6, "refine.original_weight": 0.3, "refine.relative": True,
    "refine.method": {"name": "linkage", "quantile": 0.0017, "singletons": "outliers"},
    "refine.camera_similarity": 0.01, "refine.nodes": "none",
    "train_intra.epochs": 0, "train_intra.iterations": "pass", "train_intra.sampling": "shuffled",
    "train_intra.label_flip": True, "train_intra.label_styles": False,
    "train_intra.loss": {"camera_classifiers": {"distillation": 1.0, "over_cameras": "sum"}},
    "train_inter.start_from": "initial", "train_inter.iterations": "pass", "train_inter.clusters_per_batch": 8,
    "train_inter.images_per_cluster": 4, "train_inter.label_flip": True,
    "train_inter.loss": {
        "classifier": {"smoothing": 0.0, "distillation": 1.0}, "triplet": {"margin": 0.3, "distillation": 1.0},
    },
    **{f"{stage}.{key}": value for stage in ("train_intra", "train_inter") for key, value in {
        "optimiser": "sgd", "learning_rate": 0.005, "backbone_rate": 0.1, "weight_decay": 0.0005, "decay_at": [],
        "warm_up": 0, "cosine": False,
    }.items()},
}  # fmt: skip
OF_RECIPE = {
    "iids": {
        "model.backbone": "resnet50", "model.last_stride": 1, "model.pooling": "average", "model.normalisation": "aibn",
        "model.camera_norm_after": ["layer1", "layer2", "layer3"], "model.camera_norm_by": "batch",
        "embed.camera_styles": True, "train_inter.label_styles": True, "images of a camera": 8,
    },
    "iids_convnext": {
        "model.backbone": "timm/convnext_small.fb_in22k", "model.last_stride": 2, "model.pooling": "average_norm",
        "model.normalisation": "batch", "model.camera_norm_after": None, "embed.camera_styles": False,
        "train_inter.label_styles": False, "images of a camera": 4,
    },
}  # fmt: skip
OF_SET = {  # epochs inside cameras of a round, and of 40 rounds in all, with 2 across them
    "market1501": (3, 200), "dukemtmc": (3, 200), "msmt17": (36, 1520), "veri776": (3, 200), "personx": (3, 200),
    "cuhk03": (3, 200), "folder": (3, 200),
}  # fmt: skip


def value_of(values: Any, key: str) -> Any:
    for name in key.split("."):
        values = values[name]
    without = {"images_per_cluster", "n_clusters", "distance_threshold"}  # of linkage, None
    return {k: v for k, v in values.items() if k not in without} if key.endswith(".method") else values


@pytest.mark.parametrize("dataset", OF_SET)
@pytest.mark.parametrize("recipe", OF_RECIPE)
def test_composed_values_are_the_published_ones(recipe, dataset):
    values = compose_values([f"recipe={recipe}", f"dataset={dataset}"])
    check_params(values)
    wanted = dict(SHARED | OF_RECIPE[recipe])
    of_camera, (intra, whole) = wanted.pop("images of a camera"), OF_SET[dataset]
    found = {key: value_of(values, key) for key in wanted}
    assert found == wanted
    assert values["train_inter"]["alternate"] == {
        "intra_epochs": intra, "inter_epochs": 2, "labels": "turn", "renew": True,
    }  # fmt: skip
    assert values["train_inter"]["epochs"] == whole == 40 * (intra + 2)
    inside = values["train_intra"]
    assert inside["clusters_per_batch"] * inside["images_per_cluster"] == of_camera == inside["batch_norm_group"]
    assert values["model"]["batch_norm_group"] >= 32  # a batch across cameras is normalised whole


def made_archive(cameras, size, *, people=3, shots=2):
    """Packed images of people on every camera, which tints them; their cameras."""
    generator = np.random.default_rng(cameras)
    looks = generator.integers(30, 226, (people, 1, 2, 1, 3))
    tints = generator.integers(-25, 26, (1, cameras, 1, 1, 3))
    noise = generator.integers(-12, 13, (people, cameras * shots, 2, size[1], 3))
    blocks = looks + np.repeat(tints, shots, axis=1) + noise
    images = np.repeat(blocks.clip(0, 255).astype(np.uint8), size[0] // 2, axis=2)
    return images.reshape(-1, *size, 3), np.tile(np.repeat(np.arange(cameras), shots), people)


@pytest.mark.parametrize("cameras", [6, 8, 15, 20])
@pytest.mark.parametrize("recipe", OF_RECIPE)
def test_two_rounds_with_any_number_of_cameras(recipe, cameras):
    """The whole recipe but for a tiny network of random weights, fewer neighbours, and fewer epochs and batches."""
    backbone, size = {"iids": ("resnet18_half", (32, 16)), "iids_convnext": ("timm/test_convnext", (64, 32))}[recipe]
    images, on = made_archive(cameras, size)
    changes = {
        "model.backbone": backbone, "model.height_px": size[0], "model.width_px": size[1], "augment.pad": 2,
        "compute.precision": "fp32", "cluster.k1": 4, "cluster.k2": 2, "refine.k1": 9, "refine.k2": 2,
        "dataset.local_quantile": 0.2, "dataset.global_quantile": 0.1, "dataset.local_epochs": 2,
        "train_intra.iterations": 1, "train_inter.iterations": 1, "train_inter.alternate.inter_epochs": 1,
        "train_inter.epochs": 6,
    }  # fmt: skip
    overrides = [f"{key}={value}" for key, value in changes.items()]
    values = compose_values([f"recipe={recipe}", "dataset=market1501", *overrides])
    check_params(values)
    shape = arguments(values["model"], of=Architecture, where="model", given=("cameras",))
    model = new_embedder(Architecture(**shape, cameras=cameras), seed=1)
    if recipe == "iids_convnext":  # as it starts, with deviations of .02 and layer scales of 1e-6, all images are alike
        torch.manual_seed(1)
        for parameter in model.backbone.parameters():
            nn.init.kaiming_normal_(parameter) if parameter.ndim > 1 else nn.init.uniform_(parameter, 0.5, 1.5)
    initial = embed(model, images, flip=True)
    inside = LocalLabelling(**arguments(values["cluster"], of=LocalLabelling, where="cluster"))
    local = local_labels(initial, on, labelling=inside, seed=1).labels
    rows = {
        "image": [f"{row:016x}" for row in range(len(on))],
        "camera": on.astype(np.int16),
        "tracklet": -1,
        "frame": -1,
    }
    split = Split(images, pd.DataFrame(rows))
    phases, settings, start = read_across(values, local, local, split, Path("rows.parquet"))
    history = loop.train(model, images, on, phases=phases, settings=settings)
    assert start == "initial" and len(history.curves) == 6
    assert all(np.isfinite(curve["loss"]) for curve in history.curves)
    for labels in history.labels:  # inside cameras, inside, across, and again
        assert labels.max() > 0
    for epoch in (0, 1, 3, 4):
        of_cluster = [set(on[history.labels[epoch] == each]) for each in range(history.labels[epoch].max() + 1)]
        assert all(len(where) == 1 for where in of_cluster) and set.union(*of_cluster) == set(range(cameras))
    norms = [part for part in model.modules() if isinstance(part, CameraNorm)]
    assert len(norms) == (3 if recipe == "iids" else 0) and all(bool(norm.seen.all()) for norm in norms)
