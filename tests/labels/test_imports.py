"""Labelling and evaluation of embeddings load no torch, and no library that only one method needs."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import importlib, pkgutil, sys
import reidlib

for room in ("neighbours", "labels", "retrieval"):
    package = importlib.import_module(f"reidlib.{room}")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name != "search_torch":  # imported where a GPU searches
            importlib.import_module(f"reidlib.{room}.{module.name}")
"""
USE = """
import numpy as np
from reidlib.labels.global_labelling import GlobalLabelling
from reidlib.labels.icsr import global_labels
from reidlib.labels.local import LocalLabelling, local_labels
from reidlib.labels.quality import label_quality
from reidlib.retrieval.metrics import cosine_tiles, evaluate
from reidlib.retrieval.reranking import reranked_tiles

generator = np.random.default_rng(0)
identities, cameras = np.repeat(np.arange(1, 11), 8), np.tile([0, 1], 40)
rows = generator.standard_normal((11, 16))[identities] + 0.2 * generator.standard_normal((80, 16))
rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
same = {"k1": 10, "k2": 3, "original_weight": 0.1, "method": {"name": "linkage", "images_per_cluster": 4.0}}
local = local_labels(rows, cameras, labelling=LocalLabelling(**same), seed=0)
cameras_count = {"camera_similarity": 0.1, "camera_alignment": "whiten", "colour_weight": 0.0, "camera_aware": None}
labelling = GlobalLabelling(**same, **cameras_count, nodes="all", link_k=5, link_min_similarity=0.1)
label_quality(global_labels(rows, local.labels, cameras, labelling=labelling, seed=0).labels, identities)
names = {f"{side}_{what}": values for side in ("query", "gallery")
         for what, values in (("identities", identities), ("cameras", cameras))}
for tiles in (cosine_tiles(rows, rows), reranked_tiles(rows, rows)):
    evaluate(tiles, **names)
"""
LOADED = """
print(sorted({"torch", "torchvision", "timm", "sklearn", "faiss", "infomap"} & sys.modules.keys()))
"""


@pytest.mark.parametrize("program", [PROGRAM, PROGRAM + USE], ids=["import", "use"])
def test_neither_torch_nor_what_one_method_needs_is_loaded(program):
    done = subprocess.run(
        [sys.executable, "-c", program + LOADED],
        capture_output=True, text=True, check=True, timeout=1200, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout == "[]\n"
