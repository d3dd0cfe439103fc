"""Embeddings to go on from + local labels -> global pseudo-labels, refined by intra-camera similarity."""

from pathlib import Path

from reidlib.features import device, embed, open_embeddings
from reidlib.images.packing import open_split
from reidlib.images.training import read_training, training_identities
from reidlib.labels.tables import read_labels, write_labels
from reidlib.params import load_params
from reidlib.training.labellers import GlobalLabelling, global_labels, identity_labels
from stages import run, write_metrics
from stages.training import starting_network


def main(*, images: Path, features: Path, intra: Path, supervision: Path, labels: Path, metrics: Path) -> None:
    """Cluster all cameras' embeddings together and refine the clusters (or, if supervised, take the identities)."""
    params = load_params()
    ids, cameras = read_training(images, **params.cameras())
    local = read_labels(intra / "labels.parquet", images=ids)
    if params.train_inter.start_from == "initial":  # of the descriptor, which from random weights beats the network
        embeddings = open_embeddings(features / "train.npy", images=len(ids))
    else:
        embeddings = embed(starting_network(params, features, intra).to(device()), open_split(images, "train"))
    labelling = GlobalLabelling(**params.global_labelling())
    if params.refine.method.name == "identities":
        refined = identity_labels(training_identities(supervision, images), cameras)
    else:
        refined = global_labels(embeddings, local, cameras, labelling=labelling, seed=params.seed)
    write_labels(labels, images=ids, cameras=cameras, labels=refined.labels, embeddings=embeddings)
    write_metrics(metrics, refined.measures)


if __name__ == "__main__":
    run(main)
