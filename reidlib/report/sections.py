"""The page's tables, cards and charts: what can be read without a script, and printed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64
from markupsafe import Markup

from reidlib.report.camera_pairs import first_answers, found_again, pairs_joined
from reidlib.report.charts import Chart, Line
from reidlib.report.findings import Findings
from reidlib.report.material import Material
from reidlib.report.titles import MODELS, STAGES

MEASURES = {"mAP": "mAP", "mINP": "mINP", "rank1": "Rank-1", "rank5": "Rank-5", "rank10": "Rank-10"}
LEVELS = 6  # shades of a matrix's cells, the darkest the worst
QUALITY = {"pairwise_precision": "precision", "pairwise_recall": "recall", "nmi": "NMI"}
SHARES = {"outlier_share": "outliers", "camera_span": "clusters on several cameras", "stability": "stability"}
Matrix = Float64[np.ndarray, "c c"]


def cards(material: Material, findings: Findings) -> list[dict[str, str]]:
    """Return the figures of a first look."""
    labels, values = material.labels, material.measured.stages.get("evaluate", {})
    shown = [
        (f"{len(findings.sizes):,}", "individuals found"),
        (f"{int(findings.doubtful.sum()):,}", "of them doubtful"),
        (f"{len(labels):,}", "pictures trained on"),
        (f"{int((labels < 0).sum()):,}", "pictures of no individual"),
        (f"{len(material.cameras)}", "camera" if len(material.cameras) == 1 else "cameras"),
    ]
    people = np.unique(material.identities["train"][material.identities["train"] > 0])
    if len(people):
        shown.insert(2, (f"{len(people):,}", "individuals in truth"))
    if len(findings.sizes):
        shown.append((f"{100 * _span(findings, material):.0f} %", "of individuals on several cameras"))
    for name, text in (("inter_mAP", "mAP"), ("inter_rank1", "Rank-1")):
        if name in values:
            shown.append((f"{values[name]:.1f}", f"{text}, percent"))
    return [{"value": value, "text": text} for value, text in shown]


def _span(findings: Findings, material: Material) -> float:
    inside = material.labels >= 0
    pairs = np.unique(np.stack([material.labels[inside], material.places("train")[inside]]), axis=1)
    return float((np.bincount(pairs[0].astype(np.int64), minlength=len(findings.sizes)) > 1).mean())


def model_rows(material: Material) -> list[tuple[str, list[str]]]:
    """Return retrieval of each model, and of each re-ranked, as texts by `MEASURES`; none without identities."""
    values, rows = material.measured.stages.get("evaluate", {}), []
    for name, title in MODELS.items():
        for ending, more in (("", ""), ("_reranked", ", re-ranked"), ("_tracklets", ", tracklets averaged")):
            cells = [values.get(f"{name}{ending}_{measure}") for measure in MEASURES]
            if any(cell is not None for cell in cells):
                rows.append((title + more, ["" if cell is None else f"{cell:.1f}" for cell in cells]))
    return rows


def stage_rows(material: Material) -> list[dict[str, Any]]:
    """Return each stage, what it does, and its numbers but for retrieval."""
    endings = (*MEASURES, "rank20")
    return [
        {"name": stage, "did": STAGES.get(stage, ""), "figures": [
            (name.replace("_", " "), f"{value:,}" if isinstance(value, int) else f"{value:.4g}")
            for name, value in values.items() if name.rpartition("_")[2] not in endings]}
        for stage, values in material.measured.stages.items()
    ]  # fmt: skip


def training_charts(material: Material) -> list[Markup]:
    """Return the curves of training and, where identities are known, of label quality; and the CMC."""
    charts, tables = [], material.measured.tables
    for stage, title in (("intra", "inside cameras"), ("inter", "across cameras")):
        curves, quality = tables.get(f"train_{stage}"), tables.get(f"label_quality_{stage}")
        if curves is not None:
            mean = curves.groupby("epoch", as_index=False).mean(numeric_only=True)  # of networks, one per camera
            charts += [
                _epochs(mean, f"Loss, {title}", {"loss": "loss"}),
                _epochs(mean, f"Clusters, {title}", {"clusters": "clusters"}),
                _epochs(mean, f"Labels, {title}", SHARES, y_range=(0.0, 1.0)),
            ]
        if quality is not None:
            together = quality[quality["camera"] == -1]
            charts.append(_epochs(together, f"Labels against identities, {title}", QUALITY, y_range=(0.0, 1.0)))
    if (cmc := tables.get("cmc")) is not None:
        lines = {title: (cmc["rank"], cmc[name]) for name, title in MODELS.items() if name in cmc}
        charts.append(Chart("Queries found by rank", "rank", lines).svg())
    return [chart for chart in charts if chart]


def _epochs(
    table: pd.DataFrame, title: str, columns: Mapping[str, str], *, y_range: tuple[float, float] | None = None
) -> Markup:
    lines = {name: (table["epoch"], table[column]) for column, name in columns.items() if column in table}
    return Chart(title, "epoch", lines, y_range=y_range).svg()


def meaning_charts(material: Material) -> list[Markup]:
    """Return what cosines mean, how true that is where identities are known, and both errors by threshold."""
    cosines = np.linspace(-1, 1, 101)
    curves = {"all cameras": material.calibration.pooled, **dict(list(material.calibration.cameras.items())[:6])}
    names = {str(number): name for number, name in material.cameras.items()}
    lines: dict[str, Line] = {
        " and ".join(names.get(part, part) for part in key.split("|")): (
            cosines, 1 / (1 + np.exp(-(curve.slope * cosines + curve.offset))))
        for key, curve in curves.items()
    }  # fmt: skip
    charts = [Chart("Probability that two pictures show the same individual", "cosine", lines, y_range=(0, 1))]
    tables = material.measured.tables
    if (told := tables.get("reliability")) is not None:
        lines = {"measured on queries and gallery": (told["said"], told["same"]), "perfect": ((0, 1), (0, 1))}
        charts.append(Chart("Of the pairs said to be the same, the share that are", "probability that is said", lines,
                            y_range=(0, 1)))  # fmt: skip
    if (det := tables.get("det")) is not None:
        line = {"missed": (det["false_match_rate"], det["false_non_match_rate"])}
        charts.append(Chart("Share of the same that is missed, by false matches (DET)", "false match rate", line,
                            log=True))  # fmt: skip
    return [svg for chart in charts if (svg := chart.svg())]


def matrices(material: Material) -> list[dict[str, Any]]:
    """Return what holds between cameras; nothing where there is one."""
    names, count = list(material.cameras.values()), len(material.cameras)
    if count < 2:
        return []
    labels, places = material.labels, {name: material.places(name) for name in material.splits}
    tables = []
    if material.known:
        right, asked = first_answers(material.embeddings, material.identities, places, count)
        tables.append(_matrix("Retrieval", "How often the first answer is right, of the queries that are there.", names,
                              right, asked))  # fmt: skip
    if (material.identities["train"] > 0).any():
        recall, precision = pairs_joined(labels, material.identities["train"], places["train"], count)
        tables.append(_matrix("Pictures joined", "Of two pictures of one individual, how often they are in one group.",
                              names, recall))  # fmt: skip
        tables.append(_matrix("Rightly joined", "Of two pictures in one group, how often they are of one individual.",
                              names, precision))  # fmt: skip
    again = found_again(labels, places["train"], count)
    tables.append(_matrix("Seen again", "Of the individuals seen on one camera, how many are seen on the other.", names,
                          again))  # fmt: skip
    return tables


def _matrix(
    title: str, text: str, names: list[str], shares: Matrix, counts: Int64[np.ndarray, "c c"] | None = None
) -> dict[str, Any]:
    """Return a table as the template takes it: in percent, worse cells of a higher level, with counts told."""

    def cell(row: int, column: int) -> dict[str, Any]:
        share = float(shares[row, column])
        if not np.isfinite(share):
            return {"text": "-", "level": 0, "told": ""}
        told = "" if counts is None else f"{counts[row, column]:,} queries"
        return {"text": f"{100 * share:.0f}", "level": min(LEVELS, int((1 - share) * 2 * LEVELS)), "told": told}

    rows = [(name, [cell(row, column) for column in range(len(names))]) for row, name in enumerate(names)]
    return {"title": title, "text": f"{text} Percent.", "corner": "camera", "names": names, "rows": rows}
