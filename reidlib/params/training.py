"""The schema of networks and training: `model`, `extract`, `augment`, `compute`, `train_intra`, `train_inter`."""

from typing import Annotated, Any, Literal

from pydantic import Field

from reidlib.schema import Count, Epochs, NotNegative, Positive, Section, Share


class Model(Section):
    """The network: backbone, pooling, BN neck."""

    backbone: str
    last_stride: Literal[1, 2]
    pooling: Literal["gem", "gem_trained", "average", "max", "average_max", "token", "parts"]
    gem_power: Annotated[float, Field(ge=1)]
    batch_norm_group: Annotated[int, Field(ge=2)]
    height_px: Count
    width_px: Count
    patch_stride: Count | None
    drop_path: Annotated[float, Field(ge=0, lt=1)]
    normalisation: Literal["batch", "aibn"]
    attention: str | None
    attention_after: str
    attention_settings: dict[str, Any]
    camera_norm_after: str | None


class Extract(Section):
    """The initial features."""

    weights: str
    descriptor: Literal["network", "colour_stripes", "balanced_stripes"]
    strict: bool
    batch_size: Count


class Augment(Section):
    """What training does to a crop."""

    flip: Share
    pad: Annotated[int, Field(ge=0)]
    erase: Share
    gain: Annotated[float, Field(ge=0, lt=1)]
    offset: Annotated[float, Field(ge=0, lt=1)]
    policy: Literal["none", "auto", "trivial"]
    translate: Share
    brightness: Annotated[float, Field(ge=0)]
    contrast: Annotated[float, Field(ge=0)]
    saturation: Annotated[float, Field(ge=0)]
    hue: Annotated[float, Field(ge=0, le=0.5)]
    blur: Share
    grey_patch: Share
    cutout: Share


class Compute(Section):
    """How training is computed; changes its results by rounding at most."""

    precision: Literal["auto", "fp32", "bf16"]
    compile: bool
    log_every: Count
    device_memory_gib: Annotated[float, Field(ge=0)]
    checkpoint_minutes: Positive

    def loop_values(self) -> dict[str, Any]:
        """Return what is passed to the training loop."""
        return self.model_dump(exclude={"checkpoint_minutes"})


class Train(Section):
    """What both training stages have in common.

    The names and settings under `loss` are checked against the terms they choose (`reidlib.training.objective`), by
    `python -m reidlib.compose` and where training starts.
    """

    epochs: Epochs
    iterations: Count
    sampling: Literal["mixed", "camera", "every_camera"]
    clusters_per_batch: Count
    images_per_cluster: Count
    optimiser: Literal["adam", "adamw", "sgd"]
    learning_rate: Positive
    backbone_rate: NotNegative
    weight_decay: NotNegative
    warm_up: Epochs
    warm_up_from: Share
    decay_at: list[Epochs]
    decay_factor: Share
    cosine: bool
    clip_norm: Positive | None
    loss: dict[str, dict[str, Any] | None]

    def phase_values(self) -> dict[str, Any]:
        """Return what tells an epoch's batches and loss."""
        values = {name: getattr(self, name) for name in ("sampling", "clusters_per_batch", "images_per_cluster")}
        return values | {"loss": {name: settings for name, settings in self.loss.items() if settings is not None}}

    def loop_values(self) -> dict[str, Any]:
        """Return what tells the training loop."""
        return {name: getattr(self, name) for name in Train.model_fields if name not in self.phase_values()}


class TrainIntra(Train):
    """Training inside cameras."""

    sharing: Literal["shared", "per_camera"]
    keep: Literal["best_silhouette", "last"]


class Alternate(Section):
    """Rounds of epochs inside cameras, trained as `train_intra` says, and epochs across them."""

    intra_epochs: Count
    inter_epochs: Count


class TrainInter(Train):
    """Training across cameras."""

    epochs: Count
    start_from: Literal["intra", "initial"]
    alternate: Alternate | None
    teacher: str


class Demo(Section):
    """What dataset=synthetic puts in the place of a recipe's own values, by interpolation; read by no stage."""

    backbone: str
    optimiser: Literal["adam", "adamw", "sgd"]
    learning_rate: Positive
    backbone_rate: NotNegative
    intra_epochs: Epochs
    inter_epochs: Count
    inter_iterations: Count
    decay_at: list[Epochs]
