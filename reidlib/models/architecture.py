"""What an embedder is built of, and what its weights expect of images; without torch, so that checking costs little."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from reidlib.settings import Count, Positive

PREPROCESSING = ("mean", "std", "interpolation")
Pooling = Literal["gem", "gem_trained", "average", "max", "average_max", "average_norm", "token", "parts"]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """All that is needed to build an `Embedder`; the schema of the section `model`.

    See `backbone`, `pooling`, `group_norms` and `add_attention`. Height and width are the size that images come in;
    None where any will do. The fields that are not keyword-only are no settings: `cameras` is the number of training
    cameras, which a camera norm keeps statistics of; the others come with the weights (`load_weights`).

    Attributes:
        camera_norm_after: the stage, or the stages, that a camera norm follows.
        camera_norm_by: how it converts in training; see `reidlib.models.camera_norm`.
        embedding: which vectors are searched and compared: those after the BN neck, or those before it.
        mean: of the RGB levels, as shares of the full range, that images are normalised by.
        std: their standard deviation, likewise.
        interpolation: how the images were resized on which the weights were trained; for information.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    backbone: str
    last_stride: Literal[1, 2]
    pooling: Pooling
    gem_power: Annotated[float, Field(ge=1)]
    batch_norm_group: Annotated[int, Field(ge=2)]
    height_px: Count | None = None
    width_px: Count | None = None
    patch_stride: Count | None = None
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    normalisation: Literal["batch", "aibn"] = "batch"
    attention: str | None = None
    attention_after: str | list[str] = ""
    attention_settings: Mapping[str, Any] | None = None
    camera_norm_after: str | Sequence[str] | None = None
    camera_norm_by: Literal["image", "batch"] = "image"
    embedding: Literal["after_neck", "before_neck"] = "after_neck"
    cameras: int = field(default=1, kw_only=False)
    mean: tuple[float, float, float] = field(default=(0.485, 0.456, 0.406), kw_only=False)  # of ImageNet
    std: tuple[Positive, Positive, Positive] = field(default=(0.229, 0.224, 0.225), kw_only=False)
    interpolation: str = field(default="bilinear", kw_only=False)

    @property
    def size_px(self) -> tuple[int, int] | None:
        """Height and width of the images, None where any will do."""
        return None if self.height_px is None or self.width_px is None else (self.height_px, self.width_px)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What the weights expect of images: `mean`, `std` and `interpolation`."""
        return {name: getattr(self, name) for name in PREPROCESSING}

    @property
    def camera_norms(self) -> tuple[str, ...]:
        """The stages that a camera norm follows."""
        after = self.camera_norm_after or ()
        return (after,) if isinstance(after, str) else tuple(after)

    def to_json(self) -> str:
        """Return it as a line of text; `from_json` reads it."""
        return TypeAdapter(Architecture).dump_json(self).decode()

    @staticmethod
    def from_json(text: str) -> "Architecture":
        """Read what `to_json` wrote.

        Raises:
            ValueError: for other text, or values that are out of range.
        """
        return TypeAdapter(Architecture).validate_json(text)
