"""Network to go on from + refined global labels -> the final network, its labels, curves."""

from pathlib import Path

from reidlib.artifacts import atomic_folder
from reidlib.features import embed, open_embeddings
from reidlib.images.packing import open_split
from reidlib.images.training import read_training, with_source
from reidlib.labels.tables import read_labels, write_labels
from reidlib.models.embedder import save_embedder
from reidlib.params import load_params
from reidlib.training.loop import train
from stages import write_metrics, write_table
from stages.training import inter_phases, run_training, settings, starting_network, training


def main(
    *, images: Path, features: Path, intra: Path, labels: Path, teacher: Path, source_images: Path,
    source_identities: Path, scratch: Path, inter: Path, curves: Path, metrics: Path,
) -> None:  # fmt: skip
    """Train across cameras on global labels, clustered and refined anew each epoch."""
    params = load_params()
    ids, cameras = read_training(images, **params.cameras())
    own, first, local = (
        open_split(images, "train"),
        read_labels(labels, images=ids),
        read_labels(intra / "labels.parquet", images=ids),
    )
    crops, all_cameras, known = own, cameras, None
    if params.source.name != "none":
        crops, all_cameras, known = with_source(own, cameras, source_images, source_identities, **params.cameras())
    model = starting_network(params, features, intra)
    phases = inter_phases(params, cameras, first=first, local=local, source=known)
    how, minutes = settings(params, params.train_inter), params.compute.checkpoint_minutes
    values = [repr(how), params.train_inter.model_dump(), params.train_intra.phase_values(), params.global_labelling()]
    inputs = [images, features, intra, labels, teacher, source_images, source_identities]
    lesson = open_embeddings(teacher, images=len(ids)) if "teacher" in params.train_inter.loss else None
    with training(scratch, inputs, values, minutes=minutes) as (world, saved):
        history = train(
            model, crops, all_cameras, phases=phases, settings=how, world=world, checkpoints=saved, teacher=lesson
        )
        if not world.first:
            return
        history = history.of_first(len(ids))
        with atomic_folder(inter) as folder:
            save_embedder(model, folder / "model.safetensors")
            last, embeddings = history.labels[-1], embed(model, own)
            write_labels(folder / "labels.parquet", images=ids, cameras=cameras, labels=last, embeddings=embeddings)
            history.label_table().to_parquet(folder / "epochs.parquet", index=False)
        write_table(curves, history.curve_table())
        write_metrics(metrics, history.curves[-1])


if __name__ == "__main__":
    run_training(main)
