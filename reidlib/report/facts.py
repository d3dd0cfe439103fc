"""What the page's script knows of each picture and cluster: columns of plain numbers and texts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from reidlib.calibration.calibration import camera_pair
from reidlib.report.findings import Findings
from reidlib.report.material import Material

Rows = Mapping[str, Int64[np.ndarray, "_"]]
SPLITS = ("train", "query", "gallery")
CALLED = ("pictures trained on", "queries", "gallery")


def page_facts(
    material: Material, findings: Findings, shown: Rows, places: Float32[np.ndarray, "_ 2"]
) -> dict[str, Any]:
    """Return a JSON object of columns; pictures are numbered as shown, split after split.

    Args:
        material: of the run.
        findings: computed of it.
        shown: rows of each split that the page holds.
        places: on the map, of the training images shown.
    """
    first = dict(zip(SPLITS, np.cumsum([0, *(len(shown[name]) for name in SPLITS)]).tolist(), strict=False))
    return {
        "splits": CALLED,
        "pictures": _pictures(material, findings, shown, places),
        "cameras": list(material.cameras.values()),
        "clusters": {
            "size": findings.sizes.tolist(),
            "spread": np.round(findings.spread, 4).tolist(),
            "cameras": _cameras(material, len(findings.sizes)),
        },
        "one": _rows(findings.one, "first", "second", "same"),
        "two": _rows(findings.two, "cluster", "same"),
        "epochs": int(material.epochs["epoch"].max()) + 1 if len(material.epochs) else 0,
        "calibration": _curves(material),
        "queries": _queries(findings, shown, first),
    }


def _pictures(
    material: Material, findings: Findings, shown: Rows, places: Float32[np.ndarray, "_ 2"]
) -> dict[str, Any]:
    train, others = shown["train"], sum(len(shown[name]) for name in SPLITS[1:])
    starts = np.cumsum([0, *(len(material.splits[name]) for name in SPLITS)])
    names = material.names.iloc[np.concatenate([shown[name] + starts[k] for k, name in enumerate(SPLITS)])]
    identities = np.concatenate([material.identities[name][shown[name]] for name in SPLITS])

    def column(values: np.ndarray, absent: float) -> list[Any]:
        return [*values[train].tolist(), *[absent] * others]

    return {
        "split": np.repeat(range(3), [len(shown[name]) for name in SPLITS]).tolist(),
        "camera": np.concatenate([material.places(name)[shown[name]] for name in SPLITS]).tolist(),
        "path": names["path"].tolist(),
        "identity": identities.tolist() if (identities > 0).any() else None,
        "cluster": column(material.labels, -1),
        "distance": column(np.round(np.nan_to_num(findings.distances, nan=2.0).astype(np.float64), 4), 2.0),
        "half": column(findings.halves, -1),
        "epoch": column(findings.joined, 0),
        "x": np.round(places[:, 0].astype(np.float64), 4).tolist(),
        "y": np.round(places[:, 1].astype(np.float64), 4).tolist(),
    }


def _cameras(material: Material, clusters: int) -> list[int]:
    """Count the cameras of each cluster, of all its images."""
    inside = material.labels >= 0
    pairs = np.unique(np.stack([material.labels[inside], material.places("train")[inside]]), axis=1)
    return np.bincount(pairs[0].astype(np.int64), minlength=clusters).tolist()


def _curves(material: Material) -> list[list[tuple[float, float]]]:
    """Return slope and offset of P(same) for each pair of cameras."""
    learnt, numbers = material.calibration, list(material.cameras)
    table = [[learnt.cameras.get(camera_pair(a, b), learnt.pooled) for b in numbers] for a in numbers]
    return [[(round(curve.slope, 5), round(curve.offset, 5)) for curve in row] for row in table]


KINDS = {
    "query": {"best": "Best queries", "middle": "Middling queries", "worst": "Worst queries"},
    "train": {"best": "Surest pictures", "middle": "Middling pictures", "worst": "Least sure pictures"},
}
TOLD = {"query": "average precision {:.0f} %", "train": "its nearest elsewhere: {:.0f} % the same"}


def _queries(findings: Findings, shown: Rows, first: Mapping[str, int]) -> list[dict[str, Any]]:
    return [
        {
            "kind": KINDS[query.split][query.kind],
            "picture": first[query.split] + int(np.searchsorted(shown[query.split], query.row)),
            "told": TOLD[query.split].format(100 * query.score),
        }
        for query in findings.queries
    ]


def _rows(table: Any, *columns: str) -> list[list[Any]]:
    return [list(row) for row in zip(*(table[name].round(4).tolist() for name in columns), strict=True)]
