"""Small settings, networks and labellings that the tests of training share."""

from typing import Any

import numpy as np

from reidlib.batches.variation import Augmentation
from reidlib.labels.global_labelling import GlobalLabelling
from reidlib.labels.local import LocalLabelling
from reidlib.labels.pseudo_labels import PseudoLabels
from reidlib.models.architecture import Architecture
from reidlib.training.plan import Compute, Phase, Settings

BATCHES: dict[str, Any] = {
    "sampling": "camera", "clusters_per_batch": 4, "images_per_cluster": 2, "loss": {"cluster_memory": {}},
}  # fmt: skip
METHOD = {"name": "linkage", "images_per_cluster": 3.0}
LOCAL = LocalLabelling(k1=4, k2=2, original_weight=0.0, method=METHOD)
GLOBAL = GlobalLabelling(
    k1=6, k2=2, original_weight=0.0, method=METHOD, camera_similarity=0.0, camera_alignment="centre",
    colour_weight=0.0, camera_aware=None, nodes="all", link_k=4,
    link_min_similarity=0.1,
)  # fmt: skip


def settings_of(**changes: Any) -> Settings:
    """Return small settings of the loop with some changed; those of `Compute` too."""
    values = {
        "epochs": 2, "iterations": 3, "optimiser": "adam", "learning_rate": 1e-3, "backbone_rate": 1.0,
        "weight_decay": 5e-4, "warm_up": 0, "warm_up_from": 0.01, "decay_at": [1], "decay_factor": 0.1, "cosine": False,
        "clip_norm": None, "label_flip": False, "augmentation": Augmentation(pad=2), "seed": 3,
    }  # fmt: skip
    computing = {"precision": "fp32", "log_every": 2}
    for name in ("precision", "log_every", "device_memory_gib", "record"):
        if name in changes:
            computing[name] = changes.pop(name)
    return Settings(**values | {"compute": Compute(**computing)} | changes)


def small(**changes: Any) -> Architecture:
    """Return a small network with some values changed."""
    values = {"backbone": "resnet18_half", "last_stride": 1, "pooling": "gem", "gem_power": 3.0, "batch_norm_group": 64}
    return Architecture(**values | changes)


def fixed_phase(labels: np.ndarray, **changes: Any) -> list[Phase]:
    """Return one phase on labels that stay."""
    label = lambda *_: PseudoLabels(labels, {"clusters": float(labels.max() + 1)})  # noqa: E731
    return [Phase(**BATCHES | {"label": label, "sampling": "mixed", "local": False} | changes)]
