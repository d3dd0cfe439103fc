"""Initial network + local labels -> network(s) trained inside cameras, better local labels, curves."""

from pathlib import Path

from reidlib.artifacts import atomic_folder
from reidlib.features import embed, joined
from reidlib.images.packing import open_split
from reidlib.images.training import read_training
from reidlib.labels.tables import read_labels, write_labels
from reidlib.models.embedder import load_embedder, save_embedder
from reidlib.params import load_params
from reidlib.training.intra import SHARING
from reidlib.training.labellers import LocalLabelling
from stages import write_metrics, write_table
from stages.training import run_training, settings, training


def main(
    *, images: Path, features: Path, labels: Path, scratch: Path, intra: Path, curves: Path, metrics: Path
) -> None:
    """Train on local labels, re-made each epoch, and keep those of the best epoch."""
    params = load_params()
    ids, cameras = read_training(images, **params.cameras())
    crops, first = open_split(images, "train"), read_labels(labels, images=ids)
    model = load_embedder(features / "model.safetensors")
    labelling = LocalLabelling(**params.cluster.values(), keep=params.train_intra.keep)
    how, phase = settings(params, params.train_intra), params.train_intra.phase_values()
    values, minutes = [repr(how), repr(labelling), phase], params.compute.checkpoint_minutes
    with training(scratch, [images, features, labels], values, minutes=minutes) as (world, saved):
        trained = SHARING[params.train_intra.sharing](
            model, crops, cameras, first, labelling=labelling, phase=phase, settings=how, world=world, checkpoints=saved
        )
        if not world.first:
            return
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
    run_training(main)
