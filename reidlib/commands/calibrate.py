"""What cosines mean on a gallery of one's own: ``reidlib calibrate data/market1501 --gallery gallery``."""

from collections.abc import Sequence
from pathlib import Path

from reidlib.commands.parsing import command_parser

HELP = "learn what a model's cosines mean on a gallery, without identities"
EXAMPLE = "reidlib calibrate data/market1501 --gallery gallery --to model.safetensors"


def main(arguments: Sequence[str]) -> None:
    """Write the model of a dataset's folder anew, with a calibration learnt on a gallery that it made."""
    parser = command_parser("calibrate", f"{HELP}, best on one whose individuals were not trained on.", EXAMPLE)
    parser.add_argument("dataset", type=Path, help="a folder of the pipeline: embeddings/train, inter/")
    parser.add_argument("--gallery", type=Path, default=Path("gallery"), help="its folder; gallery")
    parser.add_argument("--to", type=Path, default=Path("model.safetensors"), help="the model to write")
    parser.add_argument("--prior", type=float, help="share of pairs that are the same; by the clusters' size without")
    parser.add_argument("--pairs", type=int, default=10_000, help="from which on two cameras have thresholds; 10000")
    parser.add_argument("--images", type=int, default=3000, help="of either, at most, that are compared; 3000")
    parser.add_argument("--seed", type=int, default=1, help="of their choice; 1")
    chosen = parser.parse_args(arguments)

    from dataclasses import replace

    import numpy as np

    from reidlib.calibration.fit import calibrate, summary
    from reidlib.calibration.pairs import Pictures
    from reidlib.gallery.gallery import Gallery
    from reidlib.gallery.model import load
    from reidlib.images.split import read_rows
    from reidlib.labels.pseudo_labels import read_labels
    from reidlib.models.embedder import save_embedder
    from reidlib.settings import arguments as checked
    from reidlib.tables import open_embeddings

    given = {name: getattr(chosen, name) for name in ("images", "pairs", "prior", "seed")}
    values = checked(given, of=calibrate, where="calibrate")
    model = load(chosen.dataset / "inter/model.safetensors", device="cpu")
    gallery = Gallery(chosen.gallery, model=model)
    ids = read_rows(chosen.dataset / "embeddings/train")["image"]
    embeddings = open_embeddings(chosen.dataset / "embeddings/train/inter.npy", images=len(ids))
    labels = read_labels(chosen.dataset / "inter/labels.parquet", images=ids)
    anywhere = np.full(len(ids), "training pictures")  # their cameras are others than the gallery's
    pictures = Pictures(np.asarray(gallery.vectors), gallery.rows["camera"].to_numpy(str))
    learnt = calibrate(pictures, Pictures(embeddings, anywhere, labels), **values)
    save_embedder(model.embedder, chosen.to, replace(model.description, calibration=learnt.to_dict()))
    for name, value in summary(learnt).items():
        print(f"{name.replace('_', ' ')}: {value:.4g}")
    print(f"wrote {chosen.to}")
