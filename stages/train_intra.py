"""Initial network + local labels -> network(s) trained inside cameras, better local labels, embeddings, curves."""

from pathlib import Path

from reidlib.check import check_file
from reidlib.images.split import open_training
from reidlib.labels.pseudo_labels import leave_labels, read_labels
from reidlib.settings import load_params
from reidlib.tables import write_metrics
from stages import run_in_processes


def main(*, train: Path, features: Path, labels: Path, scratch: Path, intra: Path, curves: Path, metrics: Path) -> None:
    """Train on local labels, made anew each epoch, and keep those of the best epoch; without epochs, keep these."""
    params = load_params("seed", "dataset.camera_labels", "augment", "cluster", "compute", "extract.weights",
                         "train_intra")  # fmt: skip
    split = open_training(train, camera_labels=params["dataset"]["camera_labels"])
    first = read_labels(labels, images=split.ids)
    if params["train_intra"]["epochs"] == 0:
        leave_labels(intra, curves, images=split.ids, labels=first)
        write_metrics(metrics, {"models": 0})
        return
    from reidlib.embed import embed_together  # torch takes seconds to load: a recipe without this stage is spared them
    from reidlib.models.embedder import load_embedder
    from reidlib.training.intra import read_inside, train_inside
    from reidlib.training.results import save_training
    from reidlib.training.session import session

    model = load_embedder(features / "model.safetensors")
    with session(scratch, inputs=[train, features, labels], params=params, check=check_file) as (world, checkpoints):
        inside = read_inside(params, world=world, checkpoints=checkpoints)
        trained = train_inside(model, split.images, split.cameras, first, inside)
        if world.first:
            arrays = {"train.npy": embed_together(trained.models, split.images)}
            save_training(trained, intra, curves, images=split.ids, name="model_{}", arrays=arrays)
            write_metrics(metrics, trained.summary())


if __name__ == "__main__":
    run_in_processes(main)
