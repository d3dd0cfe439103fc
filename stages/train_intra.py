"""Initial network + local labels -> network(s) trained inside cameras, better local labels, curves."""

from dataclasses import replace
from pathlib import Path

from reidlib.images.packing import open_split
from reidlib.images.training import read_training
from reidlib.labels.tables import read_labels
from reidlib.models.embedder import load_embedder
from reidlib.params import load_params
from reidlib.training.intra import SHARING, Inside
from stages import write_metrics
from stages.training import run_training, save_training, settings, training


def main(
    *, images: Path, features: Path, labels: Path, scratch: Path, intra: Path, curves: Path, metrics: Path
) -> None:
    """Train on local labels, re-made each epoch, and keep those of the best epoch."""
    params = load_params()
    section, loop = params.train_intra, settings(params, params.train_intra)
    ids, cameras = read_training(images, **params.cameras())
    crops, first = open_split(images, "train"), read_labels(labels, images=ids)
    model, inputs = load_embedder(features / "model.safetensors"), [images, features, labels]
    how = Inside(clustering=params.cluster.values(), keep=section.keep, phase=section.phase_values(), settings=loop)
    with training(params, scratch, inputs=inputs, values=[repr(how), section.sharing]) as (world, saved):
        how = replace(how, world=world, checkpoints=saved)
        trained = SHARING[section.sharing](model, crops, cameras, first, how)
        if world.first:
            save_training(trained, intra, curves, images=ids, cameras=cameras, crops=crops, name="model_{}")
            write_metrics(metrics, {"models": len(trained.models)} | trained.summary())


if __name__ == "__main__":
    run_training(main)
