"""Embeddings to go on from + local labels -> global pseudo-labels, refined by intra-camera similarity."""

from pathlib import Path

from reidlib.images.identities import training_identities
from reidlib.images.split import open_training
from reidlib.labels.global_labelling import global_labelling
from reidlib.labels.icsr import global_labels
from reidlib.labels.identities import identity_labels
from reidlib.labels.links import training_constraints
from reidlib.labels.pseudo_labels import PseudoLabels, read_labels, write_labels
from reidlib.labels.quality import label_measures
from reidlib.settings import load_params
from reidlib.tables import open_embeddings, start_folder, write_metrics
from stages import run


def main(*, train: Path, features: Path, intra: Path, supervision: Path, links: Path, labels: Path,
         metrics: Path) -> None:  # fmt: skip
    """Cluster all cameras' embeddings together and refine the clusters (or, if supervised, take the identities)."""
    params = load_params("name", "seed", "dataset.camera_labels", "refine", "train_inter.start_from")
    split = open_training(train, camera_labels=params["dataset"]["camera_labels"])
    labelling = global_labelling(params)
    if labelling.method["name"] == "identities":
        known = identity_labels(training_identities(supervision, split.ids, recipe=params["name"]))
        refined = PseudoLabels(known, label_measures(known, split.cameras))
    else:
        start = start_folder(params["train_inter"]["start_from"], intra=intra, features=features)
        embeddings = open_embeddings(start / "train.npy", images=len(split))
        local = read_labels(intra / "labels.parquet", images=split.ids)
        colours = open_embeddings(features / "colours.npy", images=len(split))
        kept = training_constraints(split, links, known=labelling.constraints, recipe=params["name"])
        refined = global_labels(embeddings, local, split.cameras, labelling=labelling, seed=params["seed"],
                                colours=colours, constraints=kept)  # fmt: skip
    write_labels(labels, images=split.ids, labels=refined.labels)
    write_metrics(metrics, refined.measures)


if __name__ == "__main__":
    run(main)
