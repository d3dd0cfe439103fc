"""Network to go on from + refined global labels -> the final network, its labels, curves."""

from pathlib import Path

from reidlib.artifacts import atomic_folder
from reidlib.features import embed
from reidlib.images.packing import open_split
from reidlib.images.training import read_training
from reidlib.labels.tables import read_labels, write_labels
from reidlib.models.embedder import save_embedder
from reidlib.params import load_params
from reidlib.training.labellers import GlobalLabelling, global_labeller
from reidlib.training.loop import train
from stages import write_metrics, write_table
from stages.training import run_training, settings, starting_network, training


def main(
    *, images: Path, features: Path, intra: Path, labels: Path, scratch: Path, inter: Path, curves: Path, metrics: Path
) -> None:
    """Train across cameras on global labels, clustered and refined anew each epoch."""
    params = load_params()
    ids, cameras = read_training(images, **params.cameras())
    crops, local = open_split(images, "train"), read_labels(intra / "labels.parquet", images=ids)
    model = starting_network(params, features, intra)
    labelling = GlobalLabelling(**params.global_labelling())
    label = global_labeller(read_labels(labels, images=ids), local, cameras, labelling=labelling, seed=params.seed)
    how = settings(params, params.train_inter, within_cameras=False)
    values, minutes = [repr(how), repr(labelling), params.train_inter.start_from], params.compute.checkpoint_minutes
    with training(scratch, [images, features, intra, labels], values, minutes=minutes) as (world, saved):
        history = train(model, crops, cameras, label=label, settings=how, world=world, checkpoints=saved)
        if not world.first:
            return
        with atomic_folder(inter) as folder:
            save_embedder(model, folder / "model.safetensors")
            last, embeddings = history.labels[-1], embed(model, crops)
            write_labels(folder / "labels.parquet", images=ids, cameras=cameras, labels=last, embeddings=embeddings)
            history.label_table().to_parquet(folder / "epochs.parquet", index=False)
        write_table(curves, history.curve_table())
        write_metrics(metrics, history.curves[-1])


if __name__ == "__main__":
    run_training(main)
