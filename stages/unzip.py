"""The raw archive -> packed images with their index, and the identities that only evaluate may see."""

from pathlib import Path

from reidlib.images.unpacking import unpack
from reidlib.params import load_params
from stages import run, write_metrics


def main(*, raw: Path, images: Path, identities: Path, metrics: Path) -> None:
    """The raw archive -> packed images with their index, and the identities that only evaluate may see."""
    params = load_params()
    figures = unpack(raw, images, identities, reader=params.dataset.reader, **dict(params.unzip))
    write_metrics(metrics, figures)


if __name__ == "__main__":
    run(main)
