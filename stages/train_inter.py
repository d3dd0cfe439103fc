"""Network to go on from + refined global labels -> the final network, its labels, curves."""

from pathlib import Path

from reidlib.check import check_file
from reidlib.images.source import with_source
from reidlib.images.split import open_training
from reidlib.labels.pseudo_labels import read_labels
from reidlib.models.embedder import load_embedders
from reidlib.settings import load_params
from reidlib.tables import open_embeddings, start_folder, write_metrics
from reidlib.training import loop
from reidlib.training.phases import read_across
from reidlib.training.results import save_history
from reidlib.training.session import session
from stages import run_in_processes


def main(*, train: Path, features: Path, intra: Path, labels: Path, links: Path, teacher: Path, source_images: Path,
         source_identities: Path, scratch: Path, inter: Path, curves: Path, metrics: Path) -> None:  # fmt: skip
    """Train across cameras on global labels, clustered and refined anew each epoch."""
    params = load_params("name", "seed", "dataset.camera_labels", "dataset.name", "augment", "cluster", "compute",
        "extract.weights", "refine", "source.name", "train_inter", "train_intra", "unzip.interpolation")  # fmt: skip
    split = open_training(train, camera_labels=params["dataset"]["camera_labels"])
    first, local = read_labels(labels, images=split.ids), read_labels(intra / "labels.parquet", images=split.ids)
    images, cameras, people = with_source(split, source_images, source_identities, name=params["source"]["name"])
    colours = open_embeddings(features / "colours.npy", images=len(split))
    phases, settings, start_from = read_across(params, first, local, split, links, people, colours)
    start = start_folder(start_from, intra=intra, features=features)
    model, taught = load_embedders(start)[0], open_embeddings(teacher, images=len(split))
    inputs = [train, features, intra, labels, teacher, links, source_images, source_identities]
    with session(scratch, inputs=inputs, params=params, check=check_file) as (world, saved):
        history = loop.train(model, images, cameras, phases=phases, settings=settings, world=world, checkpoints=saved,
                             teacher=taught)  # fmt: skip
        if world.first:
            write_metrics(metrics, save_history(model, history, inter, curves, split=split, params=params))


if __name__ == "__main__":
    run_in_processes(main)
