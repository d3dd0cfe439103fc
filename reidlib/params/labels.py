"""The schema of labelling: the methods of clustering, `cluster` and `refine`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from reidlib.schema import Count, NotNegative, Positive, Section, Share


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


class BottomUp(Section):
    """Clusters merged step by step, epoch by epoch."""

    name: Literal["bottom_up"]
    merge_share: Annotated[float, Field(gt=0, lt=1)]
    start_share: Annotated[float, Field(gt=0, lt=1)]
    size_weight: NotNegative
    end_share: Share


Method = Annotated[Dbscan | Linkage | Infomap | Kmeans | SelfPaced | BottomUp | Identities, Field(discriminator="name")]


class Cluster(Section):
    """Local labels, inside one camera (stages ``cluster`` and ``train_intra``)."""

    k1: Annotated[int, Field(ge=2)]
    k2: Count
    original_weight: Share
    method: Method


class Refine(Section):
    """Global labels, across cameras, and their refinement (stages ``refine`` and ``train_inter``)."""

    k1: Annotated[int, Field(ge=2)]
    k2: Count
    original_weight: Share
    method: Method
    camera_centering: bool
    camera_similarity: NotNegative
    nodes: Literal["one", "all", "none"]
    link_k: Count
    link_min_similarity: Share
