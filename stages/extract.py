"""Packed training images -> the initial network, and the initial embeddings of them."""

from pathlib import Path

from reidlib.batches.colour import balanced_stripes
from reidlib.check import check_file
from reidlib.embed import device, initial_embeddings
from reidlib.files import atomic_folder
from reidlib.images.split import open_training
from reidlib.models.architecture import Architecture
from reidlib.models.embedder import new_embedder, save_embedder
from reidlib.models.weights import load_weights
from reidlib.settings import arguments, arguments_of_each, load_params
from reidlib.tables import write_array, write_metrics
from stages import run


def main(*, train: Path, weights: Path, features: Path, metrics: Path) -> None:
    """Load or draw the starting weights and embed every training image with them."""
    check_file()
    params = load_params("seed", "dataset.camera_labels", "model", "extract")
    split = open_training(train, camera_labels=params["dataset"]["camera_labels"])
    start, initial = arguments_of_each(
        params["extract"], of=[load_weights, initial_embeddings], where="extract", given=("folder",)
    )
    shape = arguments(params["model"], of=Architecture, where="model", given=("cameras",))
    model = new_embedder(Architecture(**shape, cameras=int(split.cameras.max()) + 1), seed=params["seed"])
    load_weights(model, folder=weights, **start)
    embeddings = initial_embeddings(model.to(device()), split.images, **initial)
    with atomic_folder(features) as folder:
        save_embedder(model, folder / "model.safetensors")
        write_array(folder / "train.npy", embeddings)
        write_array(folder / "colours.npy", balanced_stripes(split.images))
    write_metrics(metrics, {"images": len(split), "dimension": embeddings.shape[1]})


if __name__ == "__main__":
    run(main)
