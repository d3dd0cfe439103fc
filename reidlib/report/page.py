"""The report: one file that opens offline, with its pictures, its style and its script in it.

Whatever comes from data is escaped by the template or, in the script's data, by `tojson`; a policy in the page allows
its own style and script alone, by their hashes, and no request to anywhere.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from markupsafe import Markup

from reidlib.files import atomic_file
from reidlib.report import sections
from reidlib.report.compact import base64_of, compact, rounding
from reidlib.report.embedding_map import embedding_map
from reidlib.report.facts import SPLITS, Rows, page_facts
from reidlib.report.findings import Findings, find
from reidlib.report.heat import heat_pair
from reidlib.report.material import Material
from reidlib.report.queries import Pair
from reidlib.report.questions import Sides, page_questions, questions, rows_of
from reidlib.report.selection import choose_images
from reidlib.report.templates import TEMPLATES, asset
from reidlib.report.thumbnails import joined_base64, thumbnails
from reidlib.settings import Count, Seed

STYLES = ("look.css", "report.css")
SCRIPTS = ("make.js", "data.js", "search.js", "clusters.js", "map.js", "asking.js", "questions.js", "start.js")
VECTOR_BYTES, THUMBNAIL_BYTES = 6_000_000, 13_500_000  # before base64, which makes them four thirds
Heatmaps = Callable[[UInt8[np.ndarray, "p h w 3"], UInt8[np.ndarray, "p h w 3"]],
                    Sequence[tuple[Float32[np.ndarray, "_ _"], Float32[np.ndarray, "_ _"]]]]  # fmt: skip


def write_page(
    path: Path, material: Material, heatmaps: Heatmaps, *, facts: Mapping[str, Any], method: str, seed: Seed,
    pictures: Count, neighbours: Count,
) -> dict[str, float]:  # fmt: skip
    """Write the report of a run, whole or not at all, and return its figures.

    Args:
        path: of the HTML.
        material: what the run left.
        heatmaps: from packed pictures and as many others to what regions of both make them alike.
        facts: a few lines on how the run was made, by name.
        method: how heat-maps are made, a sentence.
        seed: of the map.
        pictures: at most so many are in the page; where there are more, some of every cluster.
        neighbours: of each image on the map.
    """
    findings, asked = find(material), questions(material.asking)
    pairs = findings.pairs(material)
    shown = _shown(material, findings, pairs, asked, most=pictures)
    places = embedding_map(material.embeddings["train"][shown["train"]], seed=seed, neighbours=neighbours)
    data, error = _data(material, findings, shown, places)
    data["facts"]["questions"] = page_questions(material.asking, asked, shown["train"])
    page = _page(material, findings, shown) | {
        "title": f"Who is who in {facts['dataset']}" if "dataset" in facts else "Who is who",
        "facts": [(name, str(value)) for name, value in facts.items()],
        "method": method,
        "heatmaps": _heatmaps(material, pairs, heatmaps),
        "footer": f"Made by reidlib. Similarities computed in this page are exact to {error:.3f}.",
    }
    style, script = "\n" + asset(*STYLES), '\n"use strict";\n' + asset(*SCRIPTS)
    text = TEMPLATES.get_template("report.html.jinja").render(
        page=page, data=data, style=_safe(style), script=_safe(script), policy=_policy(style, script)
    )
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    figures = {"pictures": sum(map(len, shown.values())), "individuals": len(findings.sizes),
               "doubtful": int(findings.doubtful.sum()), "bytes": len(text.encode())}  # fmt: skip
    return {name: float(value) for name, value in figures.items()}


def _shown(material: Material, findings: Findings, pairs: Sequence[Pair], asked: list[Sides], *, most: int) -> Rows:
    spoken: dict[str, list[int]] = {name: [] for name in SPLITS} | {"train": rows_of(asked)}
    for query in findings.queries:
        spoken[query.split].append(query.row)
        spoken["gallery"] += query.ranked.tolist()
    for pair in pairs:
        for split, row in (pair.one, pair.other):
            spoken[split].append(row)
    counts = {name: len(split) for name, split in material.splits.items()}
    return choose_images(material.labels, counts, spoken, most=most)


def _data(
    material: Material, findings: Findings, shown: Rows, places: Float32[np.ndarray, "_ 2"]
) -> tuple[dict[str, Any], float]:
    """Return what the script reads, and the largest error of a cosine."""
    files = thumbnails(
        [material.splits[name].images[row] for name in SPLITS for row in shown[name]], most_bytes=THUMBNAIL_BYTES
    )
    sheet, ends = joined_base64(files)
    embeddings = np.concatenate([material.embeddings[name][shown[name]] for name in SPLITS])
    numbers, scales = compact(embeddings, most_bytes=VECTOR_BYTES)
    facts = page_facts(material, findings, shown, places) | {"ends": ends, "dimensions": numbers.shape[1]}
    data = {"facts": facts, "vectors": base64_of(numbers), "scales": base64_of(scales), "thumbnails": sheet}
    return data, rounding(embeddings, numbers, scales)


def _page(material: Material, findings: Findings, shown: Rows) -> dict[str, Any]:
    total = sum(map(len, material.splits.values()))
    held = sum(map(len, shown.values()))
    sample = (
        f"This page holds {held:,} of {total:,} pictures, some of every individual: lists and searches are among them, "
        "figures and tables are of all."
        if held < total
        else ""
    )
    return {
        "clusters": len(findings.sizes),
        "train": len(material.labels),
        "cameras": list(material.cameras.values()),
        "doubtful": int(findings.doubtful.sum()),
        "outliers": int((material.labels < 0).sum()),
        "sample": sample,
        "mapped": len(shown["train"]),
        "queries": any(query.split == "query" for query in findings.queries),
        "cards": sections.cards(material, findings),
        "measures": list(sections.MEASURES.values()),
        "models": sections.model_rows(material),
        "stages": sections.stage_rows(material),
        "curves": sections.training_charts(material),
        "meaning": sections.meaning_charts(material),
        "matrices": sections.matrices(material),
    }


def _heatmaps(material: Material, pairs: Sequence[Pair], heatmaps: Heatmaps) -> list[dict[str, Any]]:
    if not pairs:
        return []
    sides = [np.stack([material.picture(*where) for where in side])
             for side in ([pair.one for pair in pairs], [pair.other for pair in pairs])]  # fmt: skip
    maps = heatmaps(sides[0], sides[1])
    return [
        heat_pair(pair, (sides[0][number], sides[1][number]), maps[number], material)
        for number, pair in enumerate(pairs)
    ]


def _safe(text: str) -> Markup:
    """Return our own style or script as it is; it holds nothing that ends its element."""
    assert "</" not in text
    return Markup(text)


def _policy(style: str, script: str) -> str:
    def hashed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; img-src data:; style-src {hashed(style)}; script-src {hashed(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
