"""Parameters -> a zip of rendered pedestrians in Market-1501 layout."""

from pathlib import Path

from reidlib.artifacts import atomic_folder
from reidlib.images.snapshots import Look
from reidlib.images.synthetic import synthesize
from reidlib.params import load_params
from stages import run


def main(*, raw: Path) -> None:
    """Render the synthetic archive into the folder of raw archives."""
    values = load_params().synthesize.values()
    look = Look(**values.pop("look"))
    with atomic_folder(raw) as folder:
        synthesize(folder / "synthetic.zip", look=look, **values)


if __name__ == "__main__":
    run(main)
