"""Packed images -> the initial network, and the initial embeddings of every split."""

from pathlib import Path

from reidlib.artifacts import atomic_folder
from reidlib.features import device, initial_embeddings, write_embeddings
from reidlib.images.packing import open_split
from reidlib.images.table import read_index
from reidlib.images.training import read_training
from reidlib.models.embedder import Architecture, new_embedder, save_embedder
from reidlib.models.weights import load_weights
from reidlib.params import load_params
from stages import run, write_metrics


def main(*, images: Path, weights: Path, features: Path, metrics: Path) -> None:
    """Load or draw the starting weights and embed every image with them."""
    params = load_params()
    how, index = params.extract, read_index(images)
    _, cameras = read_training(images, index=index, **params.cameras())
    architecture = Architecture(**params.model.values(), cameras=int(cameras.max()) + 1)
    model = new_embedder(architecture, seed=params.seed)
    load_weights(model, how.weights, folder=weights, strict=how.strict)
    model.to(device())
    with atomic_folder(features) as folder:
        save_embedder(model, folder / "model.safetensors")
        for split in index["split"].unique():
            embeddings = initial_embeddings(
                model, open_split(images, split), descriptor=how.descriptor, batch_size=how.batch_size
            )
            write_embeddings(folder / f"{split}.npy", embeddings)
        index.to_parquet(folder / "rows.parquet", index=False)
    write_metrics(metrics, {"images": len(index), "dimension": embeddings.shape[1]})


if __name__ == "__main__":
    run(main)
