"""Initial embeddings -> local pseudo-labels, camera by camera."""

from pathlib import Path

import numpy as np

from reidlib.images.identities import training_identities
from reidlib.images.split import open_training
from reidlib.labels.identities import identity_labels
from reidlib.labels.local import LocalLabelling, given_labels, local_labels, tracklet_labels
from reidlib.labels.pseudo_labels import write_labels
from reidlib.settings import arguments, load_params
from reidlib.tables import open_embeddings, write_metrics
from stages import run


def main(*, train: Path, features: Path, supervision: Path, labels: Path, metrics: Path) -> None:
    """Cluster the initial embeddings inside each camera (or, in the recipe `supervised`, take the identities)."""
    params = load_params("name", "seed", "dataset.camera_labels", "cluster")
    split = open_training(train, camera_labels=params["dataset"]["camera_labels"])
    labelling = LocalLabelling(**arguments(params["cluster"], of=LocalLabelling, where="cluster"))
    match labelling.method["name"]:
        case "none":
            local = given_labels(np.full(len(split), -1, np.int32))
        case "identities":
            people = training_identities(supervision, split.ids, recipe=params["name"])
            local = given_labels(identity_labels(people, split.cameras))
        case "tracklets":
            local = given_labels(tracklet_labels(split.tracklets))
        case _:
            embeddings = open_embeddings(features / "train.npy", images=len(split))
            local = local_labels(embeddings, split.cameras, labelling=labelling, seed=params["seed"])
    write_labels(labels, images=split.ids, labels=local.labels)
    write_metrics(metrics, local.measures)


if __name__ == "__main__":
    run(main)
