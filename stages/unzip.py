"""The raw archive -> the packed images of each split, and identities and names, which only evaluate may see."""

from pathlib import Path

from reidlib.archives.unpacking import unpack
from reidlib.settings import arguments, load_params
from reidlib.tables import write_metrics
from stages import run


def main(*, raw: Path, images: Path, identities: Path, names: Path, metrics: Path) -> None:
    """The raw archive -> the packed images of each split, and identities and names, which only evaluate may see."""
    params = load_params("dataset.reader", "unzip")
    settings = arguments(params["unzip"], of=unpack, where="unzip", given=("reader",))
    figures = unpack(raw, images, identities, names, reader=params["dataset"]["reader"], **settings)
    write_metrics(metrics, figures)


if __name__ == "__main__":
    run(main)
