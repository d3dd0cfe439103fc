"""The folder that a trained model leaves the pipeline in: weights with all they need, their card, ONNX if asked for."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8

from reidlib.batches.distortion import resize
from reidlib.calibration.calibration import Calibration, write_calibration
from reidlib.export.card import model_card
from reidlib.export.onnx_file import BATCHES, Pixels, Precision, export_onnx
from reidlib.files import atomic_file, atomic_folder
from reidlib.images.split import Split
from reidlib.models.description import Description
from reidlib.models.embedder import Embedder, save_embedder

STAGES = ("unzip", "train_inter", "evaluate")


def export_folder(
    folder: Path,
    model: Embedder,
    description: Description,
    calibration: Calibration,
    split: Split,
    measures: Mapping[str, Mapping[str, float]],
    *,
    false_match_rate: float,
    onnx: Literal["inside", "beside"] | None,
    precision: Precision,
) -> dict[str, float]:
    """Write model.safetensors with its calibration, calibration.json, README.md and, if asked for, model.onnx.

    Args:
        folder: appears whole, or not at all.
        model: on the CPU.
        description: what its file told.
        calibration: learnt of it.
        split: pictures to compare the ONNX on.
        measures: by stage, for the card.
        false_match_rate: at which `evaluate` asked for a threshold.
        onnx: where the normalisation of pictures is, of `export_onnx`; None: write none.
        precision: of the ONNX.

    Returns:
        Parameters of the network, length of its embeddings, bytes of its file; and the largest difference of the ONNX.
    """
    complete = replace(description, calibration=calibration.to_dict())
    figures: dict[str, float] = {"parameters": sum(part.numel() for part in model.parameters())}
    with atomic_folder(folder) as made:
        save_embedder(model, made / "model.safetensors", complete)
        write_calibration(made / "calibration.json", calibration)
        figures |= {"dimension": model.dimension, "bytes": (made / "model.safetensors").stat().st_size}
        told = ""
        if onnx is not None:
            images = pictures_for(model, split.images)
            difference = export_onnx(
                model, made / "model.onnx", images=images, preprocessing=onnx, precision=precision, description=complete
            )
            figures["onnx_difference"] = difference
            told = (
                f"model.onnx is the same in {precision}, preprocessing {onnx}; it differs by at most {difference:.1g}."
            )
        card = model_card(
            complete, calibration=calibration, measures=measures, false_match_rate=false_match_rate, onnx=told
        )
        with atomic_file(made / "README.md") as temporary:
            temporary.write_text(card, encoding="utf-8")
    return figures


def pictures_for(model: Embedder, images: Pixels) -> UInt8[np.ndarray, "seven high wide 3"]:
    """Return a few packed images in the size that the network takes, repeated where there are fewer than it needs."""
    chosen = np.resize(images[: max(BATCHES)], (max(BATCHES), *images.shape[1:]))
    size = model.size_of(chosen)
    if size == chosen.shape[1:3]:
        return chosen
    resized = resize(torch.from_numpy(chosen).permute(0, 3, 1, 2), size).permute(0, 2, 3, 1)
    return np.ascontiguousarray(resized.numpy())


def read_measures(folder: Path) -> dict[str, dict[str, float]]:
    """Return what stages measured, of those whose <stage>.json the folder has."""
    paths = {stage: folder / f"{stage}.json" for stage in STAGES}
    return {stage: json.loads(path.read_text(encoding="utf-8")) for stage, path in paths.items() if path.is_file()}
