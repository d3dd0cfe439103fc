"""Network to go on from + refined global labels -> the final network, its labels, curves."""

from pathlib import Path

from reidlib.artifacts import atomic_folder
from reidlib.features import embed
from reidlib.images.packing import open_split
from reidlib.images.training import read_training
from reidlib.images.variation import Augmentation
from reidlib.labels.tables import read_labels, write_labels
from reidlib.models.embedder import load_embedder, save_embedder
from reidlib.params import load_params
from reidlib.training.labellers import GlobalLabelling, global_labeller
from reidlib.training.loop import Settings, train
from stages import run, write_metrics, write_table


def main(*, images: Path, features: Path, intra: Path, labels: Path, inter: Path, curves: Path, metrics: Path) -> None:
    """Train across cameras on global labels, clustered and refined anew each epoch."""
    params = load_params()
    ids, cameras = read_training(images, **params.cameras())
    crops, local = open_split(images, "train"), read_labels(intra / "labels.parquet", images=ids)
    start = {"intra": intra / "model_0.safetensors", "initial": features / "model.safetensors"}
    model = load_embedder(start[params.train_inter.start_from])
    labelling = GlobalLabelling(**params.global_labelling())
    label = global_labeller(read_labels(labels, images=ids), local, cameras, labelling=labelling, seed=params.seed)
    augmentation = Augmentation(**params.augment.values())
    settings = Settings(
        **params.train_inter.loop_values(), within_cameras=False, augmentation=augmentation, seed=params.seed
    )
    history = train(model, crops, cameras, label=label, settings=settings)
    with atomic_folder(inter) as folder:
        save_embedder(model, folder / "model.safetensors")
        last, embeddings = history.labels[-1], embed(model, crops)
        write_labels(folder / "labels.parquet", images=ids, cameras=cameras, labels=last, embeddings=embeddings)
        history.label_table().to_parquet(folder / "epochs.parquet", index=False)
    write_table(curves, history.curve_table())
    write_metrics(metrics, history.curves[-1])


if __name__ == "__main__":
    run(main)
