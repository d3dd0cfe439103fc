"""Packed training images -> the initial network(s), and the initial embeddings of them."""

from pathlib import Path

from reidlib.batches.colour import balanced_stripes
from reidlib.check import check_file
from reidlib.embed import device, initial_embeddings
from reidlib.files import atomic_folder
from reidlib.images.split import open_training
from reidlib.models.architecture import Architecture
from reidlib.models.embedder import save_embedder
from reidlib.models.start import start_networks
from reidlib.settings import arguments, arguments_of_each, load_params
from reidlib.tables import write_array, write_metrics
from stages import run


def main(*, train: Path, weights: Path, features: Path, metrics: Path) -> None:
    """Load or draw the starting weights and embed every training image with them."""
    check_file()
    params = load_params("seed", "dataset.camera_labels", "model", "extract")
    split = open_training(train, camera_labels=params["dataset"]["camera_labels"])
    start, initial = arguments_of_each(
        params["extract"], of=[start_networks, initial_embeddings], where="extract", given=("folder", "seed")
    )
    shape = arguments(params["model"], of=Architecture, where="model", given=("cameras",))
    architecture = Architecture(**shape, cameras=int(split.cameras.max()) + 1)
    networks = start_networks(architecture, seed=params["seed"], folder=weights, **start)
    with atomic_folder(features) as folder:
        for name, network in networks.items():
            embeddings = initial_embeddings(network.to(device()), split.images, **initial)
            (folder / name).mkdir(exist_ok=True)
            save_embedder(network, folder / name / "model.safetensors")
            write_array(folder / name / "train.npy", embeddings)
        write_array(folder / "colours.npy", balanced_stripes(split.images))
    write_metrics(metrics, {"images": len(split), "dimension": embeddings.shape[1]})


if __name__ == "__main__":
    run(main)
