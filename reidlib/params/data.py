"""The schema of data and evaluation: `synthesize`, `dataset`, `source`, `unzip`, `evaluate`, `transfer`."""

from typing import Annotated, Literal

from pydantic import Field

from reidlib.schema import Count, Positive, Section, Share

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


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

    name: Name
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
    local_quantile: Annotated[float, Field(gt=0, lt=1)]
    global_quantile: Annotated[float, Field(gt=0, lt=1)]
    merged_share: Share


class Source(Section):
    """Another dataset whose identities are known, to train on beside the clusters; `none` for none.

    Its files are named from `data/` on; without a source they are the dataset's own and are not read.
    """

    name: Name
    images: str
    identities: str


class Unzip(Section):
    """From archive to packed images."""

    height_px: Count
    width_px: Count
    on_bad_image: Literal["error", "skip"]
    max_megapixels: Positive
    max_unpacked_gib: Positive
    max_unpacking_ratio: Positive
    workers: Count


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


class Transfer(Section):
    """Direct transfer: the datasets that the final network is measured on; read by DVC alone."""

    datasets: list[Name]
