"""What a model file tells beside its weights: architecture, preprocessing, how it was trained, its calibration.

All of it is one JSON text under one key of the file's metadata, since safetensors writes several in random order: so
the same model is the same bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import ConfigDict, TypeAdapter
from safetensors import safe_open
from torch import Tensor

from reidlib.models.architecture import Architecture

KEY, FORMER_KEY = "reidlib", "architecture"  # the latter held the architecture alone


@dataclass(frozen=True, kw_only=True)
class Description:
    """Everything but the weights that it takes to use a model.

    Attributes:
        architecture: of the network, with the mean and standard deviation that images are normalised by.
        picture_size_px: height and width that pictures are brought to before all else, as the stage `unzip` does; the
            network's own where None.
        picture_interpolation: how they are brought to it, "bilinear" or "bicubic".
        flip: embed an image and its mirror image, and take the mean (`embed.flip`).
        training: how it was trained, for information.
        calibration: what makes probabilities of cosines; None where it was not calibrated.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    architecture: Architecture
    picture_size_px: tuple[int, int] | None = None
    picture_interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    flip: bool = False
    training: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] | None = None

    @property
    def size_px(self) -> tuple[int, int] | None:
        """Height and width that pictures are brought to; None where the file does not tell."""
        return self.picture_size_px or self.architecture.size_px

    def metadata(self) -> dict[str, str]:
        """Return the metadata of a safetensors file; `of_metadata` reads it."""
        return {KEY: TypeAdapter(Description).dump_json(self).decode()}

    @staticmethod
    def of_metadata(metadata: Mapping[str, str]) -> "Description":
        """Read what `metadata` wrote.

        Raises:
            ValueError: where there is no such entry, or one with other names or values out of range.
        """
        if KEY in metadata:
            return TypeAdapter(Description).validate_json(metadata[KEY])
        if FORMER_KEY in metadata:
            return Description(architecture=Architecture.from_json(metadata[FORMER_KEY]))
        raise ValueError(f"expected an entry {KEY!r} in its metadata, found {', '.join(sorted(metadata)) or 'none'}")


def read_description(path: Path) -> Description:
    """Read what a model file tells beside its weights, and none of these.

    Raises:
        ValueError: where it is no model of `save_embedder`; safetensors' own error where it is no safetensors.
    """
    with safe_open(path, framework="pt") as file:
        return Description.of_metadata(file.metadata() or {})


def fingerprint(state: Mapping[str, Tensor], description: Description) -> str:
    """Return 16 hex digits that are the same for two models where their embeddings are: of weights and preprocessing.

    Args:
        state: the network's state dict.
        description: training facts and calibration are left out; so is what matters in training alone, and what former
            versions did not tell.
    """
    silent = {"camera_norm_by"} | ({"embedding"} if description.architecture.embedding == "after_neck" else set())
    architecture = TypeAdapter(Architecture).dump_json(description.architecture, exclude=silent)
    pictures: tuple[Any, ...] = (description.size_px, description.flip)
    if description.picture_interpolation != "bilinear":
        pictures += (description.picture_interpolation,)
    digest = blake2b(architecture + repr(pictures).encode(), digest_size=8)
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
