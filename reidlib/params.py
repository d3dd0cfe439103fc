"""The schema of params.yaml: frozen, no defaults, unknown keys refused. Imported by stages only.

conf/ holds every value with its comment; this module holds every name with its type and range, so that a mistyped
key or a value of the wrong type stops a stage at its start with the key's name.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A block of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def values(self) -> dict[str, Any]:
        """Return what is set, as plain Python values to be passed on by keyword."""
        return self.model_dump(exclude_none=True)


class Look(Section):
    """Size of the synthetic pictures and how hard they are."""

    height_px: Count
    width_px: Count
    camera_shift: Annotated[float, Field(ge=0, le=2)]
    scene: Share
    occlusion: Share
    pose: Annotated[float, Field(ge=0, le=2)]
    crop: Annotated[float, Field(ge=0, le=2)]


class Synthesize(Section):
    """The synthetic pedestrians (stage ``synthesize``)."""

    seed: Annotated[int, Field(ge=0)]
    train_identities: Count
    test_identities: Count
    cameras: Annotated[int, Field(ge=2, le=9)]
    images_per_camera: Annotated[int, Field(ge=2)]
    look: Look


class Dataset(Section):
    """Which archive, read how."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    reader: Literal[
        "market1501",
        "dukemtmc",
        "msmt17",
        "personx",
        "veri776",
        "cuhk03",
        "cuhk03_labelled",
        "cuhk03_detected",
        "folder",
        "synthetic",
    ]
    camera_labels: bool
    dbscan_eps: Annotated[float, Field(gt=0, lt=1)] | Literal["auto"]


class Unzip(Section):
    """From archive to packed images."""

    height_px: Count
    width_px: Count
    on_bad_image: Literal["error", "skip"]
    max_megapixels: Positive
    max_unpacked_gib: Positive
    max_unpacking_ratio: Positive
    workers: Count


class Model(Section):
    """The network: backbone, pooling, BN neck."""

    backbone: str
    last_stride: Literal[1, 2]
    pooling: Literal["gem", "gem_trained", "average", "max", "token"]
    gem_power: Annotated[float, Field(ge=1)]
    batch_norm_group: Annotated[int, Field(ge=2)]
    height_px: Count
    width_px: Count
    patch_stride: Count | None
    drop_path: Annotated[float, Field(ge=0, lt=1)]


class Extract(Section):
    """The initial features."""

    weights: str
    descriptor: Literal["network", "colour_stripes", "balanced_stripes"]
    batch_size: Count


class Dbscan(Section):
    """DBSCAN on the Jaccard distance."""

    name: Literal["dbscan"]
    eps: Annotated[float, Field(gt=0, lt=1)] | Literal["auto"]
    min_samples: Count


class Linkage(Section):
    """Average linkage on the Jaccard distance, cut by exactly one of the four."""

    name: Literal["linkage"]
    n_clusters: Count | None
    images_per_cluster: Positive | None
    distance_threshold: Annotated[float, Field(gt=0, le=1)] | None
    quantile: Annotated[float, Field(gt=0, lt=1)] | None

    @model_validator(mode="after")
    def _one_cut(self) -> "Linkage":
        cuts = (self.n_clusters, self.images_per_cluster, self.distance_threshold, self.quantile)
        if sum(cut is not None for cut in cuts) != 1:
            raise ValueError("set exactly one of n_clusters, images_per_cluster, distance_threshold, quantile")
        return self


class Infomap(Section):
    """Infomap on the k-NN links of the embeddings."""

    name: Literal["infomap"]
    k1: Annotated[int, Field(ge=2)]
    min_similarity: Share
    smallest: Count


class Kmeans(Section):
    """Spherical k-means on the embeddings."""

    name: Literal["kmeans"]
    n_clusters: Count


class SelfPaced(Section):
    """DBSCAN at three radii, keeping reliable clusters."""

    name: Literal["self_paced"]
    eps: Annotated[float, Field(gt=0.02, lt=0.98)]
    min_samples: Count


class Identities(Section):
    """The ground truth as labels: supervised training, the upper bound."""

    name: Literal["identities"]


Method = Annotated[Dbscan | Linkage | Infomap | Kmeans | SelfPaced | Identities, Field(discriminator="name")]


class Cluster(Section):
    """Local labels, inside one camera (stages ``cluster`` and ``train_intra``)."""

    k1: Annotated[int, Field(ge=2)]
    k2: Count
    method: Method


class Refine(Section):
    """Global labels, across cameras, and their refinement (stages ``refine`` and ``train_inter``)."""

    k1: Annotated[int, Field(ge=2)]
    k2: Count
    method: Method
    camera_centering: bool
    nodes: Literal["one", "all", "none"]
    link_k: Count
    link_min_similarity: Share


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
    """What both training stages have in common."""

    epochs: Count
    iterations: Count
    clusters_per_batch: Annotated[int, Field(ge=2)]
    images_per_cluster: Annotated[int, Field(ge=1)]
    learning_rate: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    decay_every: Count
    decay_factor: Share
    clip_norm: Positive | None
    temperature: Positive
    momentum: Share

    def loop_values(self) -> dict[str, Any]:
        """Return what both stages pass to the training loop."""
        return {name: getattr(self, name) for name in Train.model_fields}


class TrainIntra(Train):
    """Training inside cameras."""

    sharing: Literal["shared", "per_camera"]
    keep: Literal["best_silhouette", "last"]


class TrainInter(Train):
    """Training across cameras."""

    start_from: Literal["intra", "initial"]


class Reranking(Section):
    """k-reciprocal re-ranking; null for none."""

    k1: Count
    k2: Count
    weight: Share


class Evaluate(Section):
    """Evaluation: the only stage that reads identities."""

    flip: bool
    reranking: Reranking | None
    ranked_queries: Count


class Params(Section):
    """The whole of params.yaml."""

    seed: Annotated[int, Field(ge=0)]
    supervision: Literal["images/index.parquet", "identities.parquet"]
    dataset: Dataset
    synthesize: Synthesize
    unzip: Unzip
    model: Model
    augment: Augment
    compute: Compute
    extract: Extract
    cluster: Cluster
    train_intra: TrainIntra
    refine: Refine
    train_inter: TrainInter
    evaluate: Evaluate

    def global_labelling(self) -> dict[str, Any]:
        """Return the values of `refine`; without camera labels nothing is refined or centred by camera."""
        without = {} if self.dataset.camera_labels else {"nodes": "none", "camera_centering": False}
        return self.refine.values() | without

    def cameras(self) -> dict[str, Any]:
        """Return how stages read the cameras of the training images."""
        return {"camera_labels": self.dataset.camera_labels}

    def jaccard(self) -> dict[str, Any]:
        """Return the neighbours of the global Jaccard distance."""
        return {"k1": self.refine.k1, "k2": self.refine.k2}

    @model_validator(mode="after")
    def _supervised_by_name_only(self) -> "Params":
        names = {self.cluster.method.name, self.refine.method.name}
        supervised = self.supervision == "identities.parquet"
        if (supervised or "identities" in names) and not (supervised and names == {"identities"}):
            raise ValueError(
                "identities are labels in the recipe `supervised` alone, in both stages: choose recipe=supervised, or "
                "another method than identities and supervision=images/index.parquet"
            )
        return self

    @model_validator(mode="after")
    def _one_network_to_start_from(self) -> "Params":
        if self.train_intra.sharing == "per_camera" and self.train_inter.start_from == "intra":
            raise ValueError(
                "train_intra.sharing=per_camera trains one network per camera, so there is no single one to go on "
                "from: set train_inter.start_from=initial"
            )
        return self


def parse(values: dict[str, Any]) -> Params:
    """Check the values of params.yaml.

    Raises:
        ValueError: naming every key that is unknown, missing, of the wrong type or out of range.
    """
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"]) or "params"
            found = "" if problem["type"] == "missing" else f" (found: {problem['input']!r})"
            lines.append(f"  {key}: {problem['msg']}{found if len(found) < 120 else ''}")
        raise ValueError(
            "params.yaml does not fit its schema; mend these keys in conf/ or in -S options:\n" + "\n".join(lines)
        ) from None


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml of the working directory (DVC runs every stage in the repository's root)."""
    if not path.is_file():
        raise ValueError(f"{path}: not found; run from the repository's root, or write it: python -m reidlib.compose")
    return parse(yaml.safe_load(path.read_text(encoding="utf-8")))
