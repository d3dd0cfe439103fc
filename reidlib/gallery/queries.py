"""What a gallery is searched for -> vectors; and the model that made a gallery, wherever its rows lie."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float32, Int64

from reidlib.gallery.changes import check_model
from reidlib.gallery.model import Model, OnBadPicture, load
from reidlib.gallery.pictures import Picture
from reidlib.gallery.store import Manifest

Query = int | Sequence[int] | Float32[np.ndarray, "q d"] | Picture | Sequence[Picture]
Place = Path | str  # a folder, or lance://…


def model_of(manifest: Manifest, place: Place) -> Model:
    """Load the model that made a gallery.

    Raises:
        ValueError: where it does not lie there any more, or is another by now.
    """
    path = manifest.model_file
    if not path or not Path(path).is_file():
        raise ValueError(f"{place}: its model {manifest.model} is not at {path or 'any file'} any "
                         "more; say where it is: --model, or Gallery(…, model=load(…))")  # fmt: skip
    model = load(path)
    check_model(place, manifest, model)
    return model


def check_rows(numbers: Int64[np.ndarray, "_"], rows: int, place: Place) -> None:
    """Refuse numbers of rows that are not there.

    Raises:
        ValueError: for the first of those.
    """
    wrong = numbers[(numbers < 0) | (numbers >= rows)]
    if len(wrong):
        raise ValueError(f"{place}: expected rows 0..{rows - 1}, found {wrong[0]}")


def query_vectors(
    what: Query,
    *,
    manifest: Manifest,
    place: Place,
    of_rows: Callable[[Int64[np.ndarray, "q"]], Float32[np.ndarray, "q d"]],
    model: Callable[[], Model],
    on_bad_picture: OnBadPicture,
) -> tuple[Float32[np.ndarray, "q d"], Int64[np.ndarray, "q"], bool]:
    """Return the vectors to search with, their numbers, and whether these are rows of the gallery.

    Args:
        what: as in `Gallery.search`.
        manifest: the gallery's.
        place: the gallery, for messages.
        of_rows: gives the vectors of rows.
        model: gives the gallery's model, called for pictures.
        on_bad_picture: as in `Model.embed`.

    Raises:
        ValueError: pictures that cannot be read, vectors of another length, rows that are not there.
    """
    if isinstance(what, np.ndarray) and what.dtype == np.float32 and what.ndim == 2:
        if what.shape[1] != manifest.dimension:
            raise ValueError(
                f"{place}: expected vectors of length {manifest.dimension}, found {what.shape[1]}; "
                f"embed with the model {manifest.model}"
            )
        return what, np.arange(len(what)), False
    numbers = [what] if isinstance(what, int) else what
    if isinstance(numbers, Sequence) and all(isinstance(number, int | np.integer) for number in numbers):
        rows = np.array(numbers, np.int64)
        check_rows(rows, manifest.rows, place)
        return of_rows(rows), rows, True
    embedded = model().embed_each(cast("Picture | Sequence[Picture]", what), on_bad_picture=on_bad_picture)
    return embedded.vectors, embedded.kept, False
