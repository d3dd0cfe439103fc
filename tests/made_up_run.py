"""What a run might have left, made up for the tests of pages: eight people on two cameras, with hostile names."""

from pathlib import Path

import numpy as np
import pandas as pd

from reidlib.calibration.calibration import Calibration, Curve
from reidlib.images.split import Split
from reidlib.labels.asking import Asking
from reidlib.labels.global_labelling import GlobalLabelling
from reidlib.labels.numbering import number_clusters
from reidlib.report.material import Material
from reidlib.report.measured import Measured

PEOPLE, CAMERAS, WIDTH = 8, 2, 12
HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>"
CAMERA_NAMES = ("door <b>\"1\"</b> & '2'", "yard")
CURVE = {"false_match_rates": (0.1,), "thresholds": (0.5,), "pairs": 100, "strangers": 100}
CALIBRATION = Calibration(
    prior=0.1, source="strangers", pooled=Curve(slope=16.0, offset=-9.0, **CURVE),
    cameras={"0|1": Curve(slope=14.0, offset=-7.0, **CURVE)},
)  # fmt: skip


LABELLING = GlobalLabelling(
    k1=8, k2=2, original_weight=0.0, method={"name": "linkage", "n_clusters": "silhouette"}, camera_similarity=0.0,
    camera_alignment="none", colour_weight=0.0, camera_aware=None, nodes="none", link_k=4, link_min_similarity=0.1,
    constraints="tracklets_and_times",
)  # fmt: skip


def made_up_run(*, known: bool, hostile: bool = True, empty_sides: bool = False) -> Material:
    """A run whose clusters are the people, but for one who is two clusters, two who are one, and three outliers.

    Args:
        known: identities of all images, or none.
        hostile: names with markup, or plain ones.
        empty_sides: no queries and no gallery.
    """
    generator = np.random.default_rng(0)
    splits, embeddings, people, names = {}, {}, {}, []
    for name, each in (("train", 3), ("query", 1), ("gallery", 2)):
        each = 0 if empty_sides and name != "train" else each
        who = np.tile(np.repeat(np.arange(1, PEOPLE + 1), each), CAMERAS).astype(np.int32)
        cameras = np.repeat(np.arange(CAMERAS), PEOPLE * each).astype(np.int16)
        if name == "gallery" and each:
            who[:2] = 0  # distractors
        ids = [f"{generator.integers(2**60):016x}" for _ in who]
        order = np.argsort(ids)
        ids, who, cameras = [ids[row] for row in order], who[order], cameras[order]
        rows = np.eye(WIDTH)[who] + 0.12 * generator.normal(size=(len(who), WIDTH))
        embeddings[name] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        levels = (who[:, None, None, None] * 28 + generator.integers(0, 20, (len(who), 32, 16, 3))).astype(np.uint8)
        table = pd.DataFrame({"image": ids, "camera": cameras, "tracklet": -1, "frame": -1})
        splits[name], people[name] = Split(levels, table), who if known else np.full(len(who), -1, np.int32)
        paths = [f"{name}/{HOSTILE if hostile and row % 3 == 0 else '=1+1'}/{row}.jpg" for row in range(len(who))]
        called = [CAMERA_NAMES[camera] for camera in cameras] if hostile else [f"c{camera}" for camera in cameras]
        names.append(pd.DataFrame({"image": ids, "path": paths, "camera": called, "tracklet": ""}))
        if name == "train":
            clusters = np.where(who == 2, 1, who)  # the first two people are one cluster
            clusters = np.where((who == PEOPLE) & (np.arange(len(who)) % 2 == 0), PEOPLE + 1, clusters)
            clusters[:3] = -1
            labels = number_clusters(clusters)
    epochs = pd.DataFrame({"epoch": np.repeat([0, 1], len(labels)), "row": np.tile(np.arange(len(labels)), 2),
                           "label": np.concatenate([np.full(len(labels), -1), labels])})  # fmt: skip
    stages = {"unzip": {"train_images": len(labels)}, "train_inter": {"loss": 1.25}, "evaluate": {"inter_clusters": 8}}
    tables = {"train_inter": pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0], "clusters": [3, 8]})}
    if known:
        stages["evaluate"] |= {"inter_mAP": 81.26, "inter_rank1": 90.0, "inter_reranked_mAP": 85.5}
        tables["cmc"] = pd.DataFrame({"rank": [1, 2], "inter": [0.9, 1.0]})
        tables["det"] = pd.DataFrame({"threshold": [0.5, 0.1], "false_match_rate": [0.01, 1.0],
                                      "false_non_match_rate": [0.2, 0.01]})  # fmt: skip
        tables["reliability"] = pd.DataFrame({"said": [0.1, 0.9], "same": [0.0, 1.0], "pairs": [9, 9]})
    called, train = pd.concat(names, ignore_index=True), splits["train"]
    asking = Asking(Path("rows.parquet"), train, called.head(len(train)), embeddings["train"], embeddings["train"],
                    labelling=LABELLING)  # fmt: skip
    return Material(
        splits=splits, embeddings=embeddings, labels=labels, epochs=epochs, identities=people,
        names=called, calibration=CALIBRATION, measured=Measured(stages, tables), asking=asking,
    )  # fmt: skip


def grey_maps(first, second):
    """Heat-maps of no network: a ramp from top to bottom for each picture."""
    ramp = np.linspace(0, 1, 8, dtype=np.float32).reshape(4, 2)
    return [(ramp, ramp[::-1].copy()) for _ in first]
