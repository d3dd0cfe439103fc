"""Initial network + local labels -> network(s) trained inside cameras, better local labels, curves."""

from pathlib import Path

from reidlib.artifacts import atomic_folder
from reidlib.features import embed, joined
from reidlib.images.packing import open_split
from reidlib.images.training import read_training
from reidlib.images.variation import Augmentation
from reidlib.labels.tables import read_labels, write_labels
from reidlib.models.embedder import load_embedder, save_embedder
from reidlib.params import load_params
from reidlib.training.intra import SHARING
from reidlib.training.labellers import LocalLabelling
from reidlib.training.loop import Settings
from stages import run, write_metrics, write_table


def main(*, images: Path, features: Path, labels: Path, intra: Path, curves: Path, metrics: Path) -> None:
    """Train on local labels, re-made each epoch, and keep those of the best epoch."""
    params = load_params()
    ids, cameras = read_training(images, **params.cameras())
    crops = open_split(images, "train")
    labelling = LocalLabelling(**params.cluster.values(), keep=params.train_intra.keep)
    augmentation = Augmentation(**params.augment.values())
    settings = Settings(
        **params.train_intra.loop_values(), within_cameras=True, augmentation=augmentation, seed=params.seed
    )
    model, first = load_embedder(features / "model.safetensors"), read_labels(labels, images=ids)
    trained = SHARING[params.train_intra.sharing](model, crops, cameras, first, labelling=labelling, settings=settings)
    with atomic_folder(intra) as folder:
        for number, network in enumerate(trained.models):
            save_embedder(network, folder / f"model_{number}.safetensors")
        embeddings = joined([embed(network, crops) for network in trained.models])
        write_labels(
            folder / "labels.parquet", images=ids, cameras=cameras, labels=trained.labels, embeddings=embeddings
        )
        trained.epochs.to_parquet(folder / "epochs.parquet", index=False)
    write_table(curves, trained.curves)
    write_metrics(metrics, {"models": len(trained.models)} | trained.summary())


if __name__ == "__main__":
    run(main)
