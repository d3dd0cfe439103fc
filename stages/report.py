"""All that a run left -> one page to look at, which opens offline; nothing depends on it."""

from functools import partial
from pathlib import Path

from reidlib.embed import device
from reidlib.heatmaps import explanation, similarity_maps
from reidlib.images.split import open_split
from reidlib.labels.global_labelling import global_labelling
from reidlib.models.embedder import load_described
from reidlib.report.material import read_material
from reidlib.report.page import write_page
from reidlib.settings import arguments, load_params
from reidlib.tables import write_metrics
from stages import run


def main(*, train: Path, query: Path, gallery: Path, embeddings: Path, inter: Path, calibration: Path, identities: Path,
         names: Path, measured: Path, features: Path, links: Path, page: Path, metrics: Path) -> None:  # fmt: skip
    """Write the page: individuals, doubts, questions, a map, a search, what the network looks at, cameras."""
    params = load_params("seed", "dataset.camera_labels", "refine", "report")
    values = arguments(params["report"], of=write_page, where="report", given=("facts", "method", "seed"))
    folders, labelled = {"train": train, "query": query, "gallery": gallery}, params["dataset"]["camera_labels"]
    splits = {name: open_split(folder, camera_labels=labelled) for name, folder in folders.items()}
    material = read_material(splits, embeddings=embeddings, inter=inter, identities=identities, names=names,
                             calibration=calibration, measured=measured, features=features, links=links,
                             labelling=global_labelling(params))  # fmt: skip
    model, described = load_described(inter / "model.safetensors")
    facts = {**described.training, "network": described.architecture.backbone}
    heatmaps = partial(similarity_maps, [model.to(device())])
    figures = write_page(page, material, heatmaps, facts=facts, method=explanation(model), seed=params["seed"],
                         **values)  # fmt: skip
    write_metrics(metrics, figures)


if __name__ == "__main__":
    run(main)
