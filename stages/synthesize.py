"""Parameters -> a zip of rendered pedestrians in Market-1501 layout."""

from pathlib import Path

from reidlib.files import atomic_folder
from reidlib.settings import arguments, load_params
from reidlib.synthetic.dataset import synthesize
from reidlib.synthetic.snapshots import Look
from stages import run


def main(*, raw: Path) -> None:
    """Render the synthetic archive into the folder of raw archives."""
    values = load_params("synthesize")["synthesize"]
    look = Look(**arguments(values.pop("look", {}), of=Look, where="synthesize.look"))
    settings = arguments(values, of=synthesize, where="synthesize", given=("look",))
    with atomic_folder(raw) as folder:
        synthesize(folder / "synthetic.zip", look=look, **settings)


if __name__ == "__main__":
    run(main)
