"""Initial embeddings -> local pseudo-labels, camera by camera."""

from pathlib import Path

from reidlib.features import open_embeddings
from reidlib.images.training import read_training, training_identities
from reidlib.labels.clustering import local_clusters, local_identities
from reidlib.labels.quality import label_counts, silhouette
from reidlib.labels.tables import write_labels
from reidlib.params import load_params
from stages import run, write_metrics


def main(*, images: Path, features: Path, supervision: Path, labels: Path, metrics: Path) -> None:
    """Cluster the initial embeddings inside each camera (or, in the recipe `supervised`, take the identities)."""
    params = load_params()
    ids, cameras = read_training(images, **params.cameras())
    embeddings = open_embeddings(features / "train.npy", images=len(ids))
    if params.cluster.method.name == "identities":
        local = local_identities(training_identities(supervision, images), cameras)
    else:
        local = local_clusters(embeddings, cameras, **params.cluster.values(), seed=params.seed)
    write_labels(labels, images=ids, cameras=cameras, labels=local.labels, embeddings=embeddings)
    values = label_counts(local.labels)
    if local.distances is not None:
        values["silhouette"] = silhouette(local.distances, local.labels)
    write_metrics(metrics, values)


if __name__ == "__main__":
    run(main)
