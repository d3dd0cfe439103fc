"""The schema of params.yaml: frozen, no defaults, unknown keys refused. Imported by stages only.

conf/ holds every value with its comment; this package holds every name with its type and range, so that a mistyped
key or a value of the wrong type stops a stage at its start with the key's name.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from reidlib.params.data import Dataset, Evaluate, Source, Synthesize, Transfer, Unzip
from reidlib.params.labels import Cluster, Refine
from reidlib.params.training import Augment, Compute, Demo, Extract, Model, TrainInter, TrainIntra
from reidlib.schema import Section, problems


class Params(Section):
    """The whole of params.yaml."""

    name: str
    seed: Annotated[int, Field(ge=0)]
    demo: Demo
    supervision: Literal["images/index.parquet", "identities.parquet"]
    dataset: Dataset
    source: Source
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
    transfer: Transfer

    def global_labelling(self) -> dict[str, Any]:
        """Return the values of `refine`; without camera labels nothing is refined or centred by camera."""
        without = (
            {} if self.dataset.camera_labels else {"nodes": "none", "camera_centering": False, "camera_similarity": 0.0}
        )
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
        named = not supervised or "supervised" in self.name
        if (supervised or "identities" in names) and not (supervised and named and names == {"identities"}):
            raise ValueError(
                "identities are labels in recipes whose name says supervised, in both stages: recipe=supervised, or "
                "another method than identities and supervision=images/index.parquet"
            )
        return self

    @model_validator(mode="after")
    def _source_is_another_dataset(self) -> "Params":
        own, name = self.dataset.name, self.source.name
        none = {"images": f"{own}/images/train.npy", "identities": f"{own}/images/index.parquet"}
        other = {"images": f"{name}/images", "identities": f"{name}/identities.parquet"}
        files = self.source.model_dump(exclude={"name"})
        if name == own or files != (none if name == "none" else other):
            raise ValueError(
                "source.name: expected another dataset than the one to train on, whose identities no training may see, "
                f"and files of it; found {name} {files} for {own}: source=none, or source=other source.name=<dataset>"
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
        raise ValueError(
            "params.yaml does not fit its schema; mend these keys in conf/ or in -S options:\n"
            + "\n".join(problems(error))
        ) from None


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml of the working directory (DVC runs every stage in the repository's root)."""
    if not path.is_file():
        raise ValueError(f"{path}: not found; run from the repository's root, or write it: python -m reidlib.compose")
    return parse(yaml.safe_load(path.read_text(encoding="utf-8")))
