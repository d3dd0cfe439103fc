"""The final network, its calibration and what was measured -> a folder to use it from, with its card."""

from dataclasses import replace
from pathlib import Path

from reidlib.calibration.calibration import read_calibration
from reidlib.export.folder import export_folder, read_measures
from reidlib.images.split import open_split
from reidlib.models.embedder import load_described
from reidlib.settings import arguments, load_params
from reidlib.tables import write_metrics
from stages import run


def main(*, train: Path, inter: Path, calibration: Path, measured: Path, model: Path, metrics: Path) -> None:
    """Put weights, calibration and card into one folder, and ONNX if asked for; what was measured is told, not used."""
    params = load_params("embed.flip", "evaluate.false_match_rate", "export")
    given = ("false_match_rate",)
    values = arguments(params["export"], of=export_folder, where="export", given=given) | params["evaluate"]
    network, description = load_described(inter / "model.safetensors")
    description = replace(description, flip=params["embed"]["flip"])
    learnt = read_calibration(calibration)
    figures = export_folder(model, network, description, learnt, open_split(train), read_measures(measured), **values)
    write_metrics(metrics, figures)


if __name__ == "__main__":
    run(main)
