"""A trained model as its users have it: pictures in, vectors out."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8

from reidlib.embed import device as default_device
from reidlib.embed import embed
from reidlib.files import listed
from reidlib.gallery.pictures import Picture, list_pictures, picture_name, read_pictures
from reidlib.models.description import Description, fingerprint
from reidlib.models.embedder import Embedder, load_described
from reidlib.models.file_kinds import foreign_kind
from reidlib.progress import progress

OnBadPicture = Literal["error", "skip"]
Keep = Callable[[UInt8[np.ndarray, "b height_px width_px 3"]], None]
BATCH = 64


class Embedded(NamedTuple):
    """What became of pictures.

    Attributes:
        vectors: unit-norm rows of the pictures that could be read, in their order.
        kept: which of the pictures these are.
        problems: why each of the others could not be read, by its number.
    """

    vectors: Float32[np.ndarray, "n d"]
    kept: Int64[np.ndarray, "n"]
    problems: dict[int, str]


@dataclass(frozen=True)
class Model:
    """A network on its device, with what its file tells; see `load`.

    Attributes:
        embedder: in evaluation mode.
        description: of the file: architecture, preprocessing, training, calibration.
        name: of the file, without its ending; the recipe and dataset that trained it where the file tells them.
        file: where it lay.
    """

    embedder: Embedder
    description: Description
    name: str
    file: Path | None = None

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return self.embedder.dimension

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width that pictures are brought to.

        Raises:
            ValueError: where the file does not tell.
        """
        if self.description.size_px is None:
            raise ValueError(f"model {self.name} does not tell the size of its pictures: load(…, size_px=(256, 128))")
        return self.description.size_px

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits, the same for models of the same vectors."""
        return fingerprint(self.embedder.state_dict(), self.description)

    def embed(
        self,
        pictures: Picture | Sequence[Picture],
        *,
        on_bad_picture: OnBadPicture = "error",
        batch_size: int = BATCH,
    ) -> Float32[np.ndarray, "n d"]:
        """Return a unit-norm vector for each picture, in order; a picture on both sides of `@` gives their cosine.

        Args:
            pictures: paths, PIL images or uint8 arrays (RGB, or grey) of any size, or one of these, or a folder.
            on_bad_picture: pictures that cannot be read are one error that names them, or left out with a warning that
                counts and names them (`embed_each` tells which are left).
            batch_size: pictures at a time; the vectors do not depend on it beyond rounding.

        Raises:
            ValueError: of pictures that cannot be read, or none at all.
        """
        return self.embed_each(pictures, on_bad_picture=on_bad_picture, batch_size=batch_size).vectors

    def embed_each(
        self,
        pictures: Picture | Sequence[Picture],
        *,
        on_bad_picture: OnBadPicture = "error",
        batch_size: int = BATCH,
        keep: Keep | None = None,
    ) -> Embedded:
        """Embed pictures as `embed`, and tell which could be read.

        Args:
            pictures: as in `embed`.
            on_bad_picture: as in `embed`.
            batch_size: as in `embed`.
            keep: called with the pixels of each batch, in order.
        """
        wanted = list_pictures(pictures)
        parts, kept, problems = [np.empty((0, self.dimension), np.float32)], [], {}
        batch: list[UInt8[np.ndarray, "height_px width_px 3"]] = []
        interpolation = self.description.picture_interpolation
        results = read_pictures(wanted, size_px=self.size_px, interpolation=interpolation)
        for number, pixels in enumerate(progress(results, "embedding", total=len(wanted))):
            if isinstance(pixels, ValueError):
                problems[number] = str(pixels)
            elif not problems or on_bad_picture == "skip":  # with an error to come, only the others' problems count
                kept.append(number)
                batch.append(pixels)
            if batch and (len(batch) == batch_size or number == len(wanted) - 1):
                parts.append(self._embed_batch(np.stack(batch), keep))
                batch = []
        _tell(wanted, problems, on_bad_picture)
        return Embedded(np.concatenate(parts), np.array(kept, np.int64), problems)

    def _embed_batch(
        self, pixels: UInt8[np.ndarray, "b height_px width_px 3"], keep: Keep | None
    ) -> Float32[np.ndarray, "b d"]:
        if keep is not None:
            keep(pixels)
        return embed(self.embedder, pixels, batch_size=len(pixels), flip=self.description.flip)


def load(path: str | Path, *, device: str | None = None, size_px: tuple[int, int] | None = None) -> Model:
    """Open a model that the pipeline trained, `data/<dataset>/inter/model.safetensors`, anywhere.

    Args:
        path: of the file, which holds all that it takes.
        device: of torch, such as "cuda:1"; the first GPU without, or the CPU where there is none.
        size_px: height and width that pictures are brought to, for a file that does not tell.

    Raises:
        ValueError: no such file, or one of another program, with what it is.
    """
    path = Path(path)
    if path.is_file() and (kind := foreign_kind(path)):
        raise ValueError(f"{path}: expected a model.safetensors that this pipeline trained, found {kind}")
    embedder, description = load_described(path)
    if size_px is not None and description.size_px not in (None, size_px):
        raise ValueError(f"{path}: its pictures are of {description.size_px} pixels, not {size_px}; leave size_px out")
    if size_px is not None:
        description = Description(**vars(description) | {"picture_size_px": size_px})
    where = default_device() if device is None else torch.device(device)
    facts = description.training
    trained = f" ({facts['recipe']} on {facts['dataset']})" if {"recipe", "dataset"} <= facts.keys() else ""
    return Model(embedder.to(where), description, f"{path.stem}{trained}", path.absolute())


def _tell(pictures: Sequence[Picture], problems: dict[int, str], on_bad_picture: OnBadPicture) -> None:
    """Raise or warn of pictures that could not be read."""
    if not pictures:
        raise ValueError("expected pictures to embed, found none")
    if not problems:
        return
    lines = [f"\n  {picture_name(pictures[number], number)}: {problem}" for number, problem in problems.items()]
    message = f"{len(problems):,} of {len(pictures):,} pictures cannot be read: {listed(lines)}"
    if on_bad_picture == "error" or len(problems) == len(pictures):
        raise ValueError(f"{message}\nmend or remove them, or leave them out: on_bad_picture='skip' (--skip-bad)")
    warnings.warn(f"left out: {message}", stacklevel=4)
