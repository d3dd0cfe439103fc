"""Network to go on from + refined global labels -> the final network, its labels, curves."""

from dataclasses import replace
from pathlib import Path

from reidlib.features import open_embeddings
from reidlib.images.packing import open_split
from reidlib.images.training import read_training, with_source
from reidlib.labels.tables import read_labels
from reidlib.params import load_params
from reidlib.training.inter import train_across
from stages import write_metrics
from stages.training import across, run_training, save_training, settings, starting_network, training


def main(
    *, images: Path, features: Path, intra: Path, labels: Path, teacher: Path, source_images: Path, scratch: Path,
    source_identities: Path, inter: Path, curves: Path, metrics: Path,
) -> None:  # fmt: skip
    """Train across cameras on global labels, clustered and refined anew each epoch."""
    params = load_params()
    ids, cameras = read_training(images, **params.cameras())
    first, local = (read_labels(path, images=ids) for path in (labels, intra / "labels.parquet"))
    crops, model, own = open_split(images, "train"), starting_network(params, features, intra), len(ids)
    how, inputs = across(params, settings(params, params.train_inter)), [images, features, intra, labels]
    if "teacher" in how.phase["loss"]:
        how, inputs = replace(how, teacher=open_embeddings(teacher, images=own)), [*inputs, teacher]
    if params.source.name != "none":
        inputs += [source_images, source_identities]
        crops, cameras, source = with_source(crops, cameras, source_images, source_identities, **params.cameras())
        how = replace(how, source=source)
    with training(params, scratch, inputs=inputs, values=[repr(how), params.train_inter.start_from]) as (world, saved):
        trained = train_across(model, crops, cameras, first, local, replace(how, world=world, checkpoints=saved))
        if world.first:
            save_training(trained, inter, curves, images=ids, cameras=cameras[:own], crops=crops[:own])
            write_metrics(metrics, trained.last_epoch())


if __name__ == "__main__":
    run_training(main)
