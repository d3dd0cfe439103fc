"""Packed images + every network that is to be measured -> embeddings of each split, with its rows."""

from pathlib import Path

from reidlib.embed import device, embed_together, initial_embeddings
from reidlib.files import atomic_folder
from reidlib.images.split import open_split, write_rows
from reidlib.models.embedder import load_embedder, load_embedders
from reidlib.settings import arguments, load_params
from reidlib.tables import open_array, write_array, write_metrics
from stages import run


def main(*, train: Path, query: Path, gallery: Path, features: Path, intra: Path, inter: Path, embeddings: Path,
         metrics: Path) -> None:  # fmt: skip
    """Embed train, query and gallery by the initial features, the network(s) of train_intra, and the final network."""
    params = load_params("embed", "extract.batch_size", "extract.descriptor", "extract.flip")
    values = arguments(params["embed"], of=embed_together, where="embed", given=("cameras",))
    networks = {"initial": [load_embedder(features / "model.safetensors").to(device())], "inter": load_embedders(inter)}
    known = {("train", "initial"): features / "train.npy"}  # the stages before have embedded what they train on
    if (intra / "train.npy").is_file():
        networks["intra"] = load_embedders(intra)
        known |= {} if values["flip"] or values["camera_styles"] else {("train", "intra"): intra / "train.npy"}
    splits = {"train": open_split(train), "query": open_split(query), "gallery": open_split(gallery)}
    with atomic_folder(embeddings) as folder:
        for name, split in splits.items():
            write_rows(folder / name, split.rows)
            for network, models in networks.items():
                path = folder / name / f"{network}.npy"
                if (name, network) in known:
                    write_array(path, open_array(known[name, network]))
                elif network == "initial":
                    write_array(path, initial_embeddings(models[0], split.images, **params["extract"]))
                else:
                    write_array(path, embed_together(models, split.images, cameras=split.cameras, **values))
    write_metrics(metrics, {"images": sum(map(len, splits.values())), "networks": len(networks)})


if __name__ == "__main__":
    run(main)
