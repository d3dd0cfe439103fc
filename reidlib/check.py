"""The whole of params.yaml against the signatures of all that use it, before hours of training are spent on it.

Each section is checked again where it is used; here every use is named once. Nothing here changes a value, so no stage
names this file as a dependency.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from reidlib.settings import Name, Seed, arguments, arguments_of_each

IDENTITIES = {"name": "identities"}  # as labels: supervised training, the upper bound
NONE = {"name": "none"}  # no local labels
TRACKLETS = {"name": "tracklets"}  # as local labels
ROWS = "images/train/rows.parquet"  # the file that says nothing of identities


def check_file(path: Path = Path("params.yaml")) -> None:
    """Check params.yaml of the working directory; see `check_params`."""
    check_params(yaml.safe_load(path.read_text(encoding="utf-8")))


def check_params(values: Mapping[str, Any]) -> None:
    """Check every value of params.yaml, and what two sections must agree on.

    Raises:
        ValueError: naming every key of the first section that has one unknown, missing, of the wrong type or out of
            range; or sections that do not go together.
    """
    arguments(values, of=_params, where="params")
    _check_data(values)
    _check_labelling(values)
    _check_training(values)
    _check_agreement(values)


def _params(
    *, name: str, seed: Seed, supervision: str, links: str, demo: dict, dataset: dict, source: dict, synthesize: dict,
    unzip: dict, model: dict, augment: dict, compute: dict, extract: dict, cluster: dict, train_intra: dict,
    refine: dict, train_inter: dict, embed: dict, calibrate: dict, evaluate: dict, report: dict,
    export: dict, transfer: dict,
) -> None:  # fmt: skip
    """The sections of params.yaml."""


def _dataset(
    *, name: Name, reader: str, camera_labels: bool, dbscan_eps: Any, vit_eps: Any, clip_eps: Any,
    local_quantile: Any, global_quantile: Any,
    local_epochs: Any, round_epochs: Any,
    merged_share: Any, global_clusters: Any, queue_temperature: Any, iterations: Any, calr_iterations: Any,
) -> None:  # fmt: skip
    """The section `dataset`; what is Any here is put into other sections by interpolation, and checked there."""


def _demo(
    *, backbone: Any, optimiser: Any, learning_rate: Any, backbone_rate: Any, intra_epochs: Any,
    intra_iterations: Any, inter_epochs: Any, inter_iterations: Any, decay_at: Any, camera_alignment: Any,
) -> None:  # fmt: skip
    """What dataset=synthetic puts in the place of a recipe's own values; read by no stage."""


def _source(*, name: Name, images: str, identities: str) -> None:
    """Another dataset whose identities are known, to train on beside the clusters; `none` for none."""


def _transfer(*, datasets: list[Name]) -> None:
    """Direct transfer: the datasets that the final network is measured on; read by DVC alone."""


def _check_data(values: Mapping[str, Any]) -> None:
    from reidlib.archives.readers import READERS
    from reidlib.archives.unpacking import unpack
    from reidlib.synthetic.dataset import synthesize
    from reidlib.synthetic.snapshots import Look

    for section, use in (("dataset", _dataset), ("demo", _demo), ("source", _source), ("transfer", _transfer)):
        arguments(values[section], of=use, where=section)
    reader = values["dataset"]["reader"]
    if reader not in READERS:
        raise ValueError(f"dataset.reader: expected one of {', '.join(sorted(READERS))}; found {reader!r}")
    arguments(values["unzip"], of=unpack, where="unzip", given=("reader",))
    rendering = dict(values["synthesize"])
    arguments(rendering.pop("look", {}), of=Look, where="synthesize.look")
    arguments(rendering, of=synthesize, where="synthesize", given=("look",))


def _check_labelling(values: Mapping[str, Any]) -> None:
    from reidlib.labels.global_labelling import global_labelling
    from reidlib.labels.local import LocalLabelling
    from reidlib.labels.methods import check_method

    arguments(values["cluster"], of=LocalLabelling, where="cluster")
    global_labelling(values)
    for section in ("cluster", "refine"):
        method = values[section]["method"]
        if method != IDENTITIES and (section == "refine" or method not in (NONE, TRACKLETS)):
            check_method(method, where=f"{section}.method")


def _check_training(values: Mapping[str, Any]) -> None:
    from reidlib.calibration.fit import calibrate
    from reidlib.embed import embed_together, initial_embeddings
    from reidlib.export.folder import export_folder
    from reidlib.losses.total import TotalLoss
    from reidlib.models.architecture import Architecture
    from reidlib.models.start import Across, start_networks
    from reidlib.report.measures import Reranking, retrieval_report
    from reidlib.report.page import write_page
    from reidlib.training.phases import Rounds
    from reidlib.training.plan import read_plan

    arguments(values["model"], of=Architecture, where="model", given=("cameras",))
    given = ("folder", "seed")
    arguments_of_each(values["extract"], of=[start_networks, initial_embeddings], where="extract", given=given)
    if values["extract"]["across"]:
        arguments(values["extract"]["across"], of=Across, where="extract.across")
    arguments(values["embed"], of=embed_together, where="embed", given=("cameras",))
    arguments(values["calibrate"], of=calibrate, where="calibrate", given=("seed",))
    arguments(values["export"], of=export_folder, where="export", given=("false_match_rate",))
    arguments(values["evaluate"], of=retrieval_report, where="evaluate", given=("calibration",))
    arguments(values["report"], of=write_page, where="report", given=("facts", "method", "seed"))
    if values["evaluate"]["reranking"]:
        arguments(values["evaluate"]["reranking"], of=Reranking, where="evaluate.reranking")
    for section in ("train_intra", "train_inter"):
        settings, batches, _ = read_plan(values, section)
        if settings.epochs or values["train_inter"]["alternate"]:
            TotalLoss(batches["loss"], where=f"{section}.loss")
    if values["train_inter"]["alternate"]:
        arguments(values["train_inter"]["alternate"], of=Rounds, where="train_inter.alternate")


def _check_agreement(values: Mapping[str, Any]) -> None:
    """Refuse sections that do not go together."""
    cluster, refine = values["cluster"]["method"], values["refine"]["method"]
    intra, inter = values["train_intra"], values["train_inter"]
    supervised = IDENTITIES in (cluster, refine) or values["supervision"] != ROWS
    if supervised and "supervised" not in values["name"]:
        raise ValueError(
            "identities are labels in recipes whose name says supervised alone: recipe=supervised, or another method "
            "than identities and supervision=images/train/rows.parquet"
        )
    _check_links(values)
    own, source = values["dataset"]["name"], values["source"]["name"]
    if source == own:
        raise ValueError(
            f"source.name: expected another dataset than the one to train on, whose identities no training may see; "
            f"found {source}: source=none, or source=other source.name=<dataset>"
        )
    for key, present in (("loss.teacher", inter["loss"].get("teacher")), ("alternate", inter["alternate"])):
        if source != "none" and present is not None:
            raise ValueError(f"source: expected no train_inter.{key} beside another dataset; set it to null")
    if inter["start_from"] == "intra" and (intra["epochs"] == 0 or intra["sharing"] == "per_camera"):
        raise ValueError(
            f"train_inter.start_from=intra: there is no single network to go on from with train_intra.epochs="
            f"{intra['epochs']} and train_intra.sharing={intra['sharing']}: set train_inter.start_from=initial"
        )
    styles = {
        "train_inter.label_styles": inter.get("label_styles"),
        "embed.camera_styles": values["embed"].get("camera_styles"),
    }
    if any(styles.values()) and not values["model"].get("camera_norm_after"):
        keys = ", ".join(key for key, wanted in styles.items() if wanted)
        raise ValueError(
            f"{keys}: expected a network with model.camera_norm_after, found none; set it, or these to false"
        )
    uses = {
        "train_intra.epochs": intra["epochs"] > 0,
        "refine.nodes": refine != IDENTITIES and values["refine"]["nodes"] != "none",
        "refine.camera_similarity": values["refine"]["camera_similarity"] > 0,
        "train_inter.alternate": inter["alternate"] is not None,
    }
    if cluster == NONE and any(uses.values()):
        keys = ", ".join(key for key, used in uses.items() if used)
        raise ValueError(
            f"cluster.method: none makes no local labels, which {keys} needs; set clustering@cluster.method=linkage"
        )


def _check_links(values: Mapping[str, Any]) -> None:
    """Refuse a person's links in recipes whose name does not say so, and where the clustering cannot keep them."""
    from reidlib.labels.methods import check_constrained

    if (values["links"] != ROWS) != ("assisted" in values["name"]):
        raise ValueError(
            f"links: a person's links (links=links.csv) are of recipes whose name says assisted, and of them alone: "
            f"recipe=assisted_cues, or links={ROWS}; found links={values['links']} in recipe {values['name']}"
        )
    if values["links"] != ROWS and values["refine"]["method"] != IDENTITIES:
        check_constrained(values["refine"]["method"]["name"], where="refine.method")
