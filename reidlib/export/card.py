"""The model card: what a model is, how it was made, what it is worth and what may be done with it, as Markdown.

In the form that the Hugging Face hub reads: front matter in YAML, then text. Nothing in it names a person or a file.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from reidlib.calibration.calibration import Calibration
from reidlib.models.description import Description

Measures = Mapping[str, Mapping[str, float]]
RETRIEVAL = {"inter_mAP": "mAP", "inter_mINP": "mINP", "inter_rank1": "Rank-1", "inter_rank5": "Rank-5"}  # percent
SHARES = {
    "inter_calibration_error": "calibration error",
    "inter_false_match_rate": "false matches at the threshold",
    "inter_false_non_match_rate": "missed matches at the threshold",
    "inter_identified_at_fpir_1": "identified at 1 % false alarms (open set)",
    "inter_identified_at_fpir_10": "identified at 10 % false alarms (open set)",
}
LIMITS = """- It knows the kind of pictures that it was trained on: crops of one individual. Other cameras, light and
  places lower what it finds, and nobody measured by how much.
- Similar clothes, coats or makes are similar embeddings. A high probability is no proof of identity.
- Labels were made by clustering: groups that look alike in the training pictures were learnt as one.
- Whether it works equally well for all groups of people was not measured."""
TERMS = """The weights were made from the pictures named above, whose terms bind whoever uses them; the code is
Apache-2.0. Re-identification is surveillance technology: using it on people may need their consent or a legal basis
where you live (in the EU it processes biometric data)."""
INTRODUCTION = """Pictures of an individual ({pixels}) to vectors of norm 1, whose cosine tells whether two show the
same one. Made by reidlib, a pipeline for re-identification."""


def model_card(
    description: Description, *, calibration: Calibration, measures: Measures, false_match_rate: float, onnx: str
) -> str:
    """Return the text of README.md.

    Args:
        description: of the model.
        calibration: of the model.
        measures: by stage (unzip, train_inter, evaluate, where they are) what it measured.
        false_match_rate: at which `evaluate` asked for a threshold.
        onnx: a line on the ONNX file, empty where there is none.
    """
    front = yaml.safe_dump(_front_matter(description, measures), sort_keys=False, allow_unicode=True)
    title = _name(description)
    parts = {
        "How it was trained": _training(description, measures),
        "What it is worth": _worth(measures, false_match_rate),
        "Calibration": _calibration(calibration),
        "Use": _use(onnx),
        "Limits": LIMITS,
        "Terms of use": TERMS,
    }
    text = "\n\n".join(f"## {heading}\n\n{body}" for heading, body in parts.items())
    size = description.size_px
    introduction = INTRODUCTION.format(pixels=f"{size[0]} x {size[1]} pixels" if size else "of any size")
    return f"---\n{front}---\n\n# {title}\n\n{introduction}\n\n{text}\n"


def _name(description: Description) -> str:
    facts = description.training
    return f"reidlib-{facts.get('recipe', 'model')}-{facts.get('dataset', 'unknown')}"


def _front_matter(description: Description, measures: Measures) -> dict[str, Any]:
    supervised = "supervised" in str(description.training.get("recipe", ""))
    front: dict[str, Any] = {
        "license": "other",
        "license_name": "terms-of-the-training-pictures",
        "library_name": "reidlib",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["re-identification", "supervised" if supervised else "unsupervised", "image-retrieval"],
    }
    evaluated = measures.get("evaluate", {})
    figures = [
        {"type": name.split("_")[1], "name": title, "value": round(evaluated[name], 2)}
        for name, title in RETRIEVAL.items()
        if name in evaluated
    ]
    if figures:
        dataset = str(description.training.get("dataset", "unknown"))
        result = {
            "task": {"type": "image-feature-extraction", "name": "re-identification"},
            "dataset": {"type": dataset, "name": dataset},
            "metrics": figures,
        }
        front["model-index"] = [{"name": _name(description), "results": [result]}]
    return front


def _training(description: Description, measures: Measures) -> str:
    facts, architecture = description.training, description.architecture
    supervised = "supervised" in str(facts.get("recipe", ""))
    with_labels = "identities were the labels" if supervised else "without any identity label"
    rows = {
        "recipe": f"{facts.get('recipe', 'unknown')} ({with_labels})",
        "network": architecture.backbone + (f", {architecture.attention} attention" if architecture.attention else ""),
        "pooling": architecture.pooling,
        "dataset": facts.get("dataset", "unknown"),
        "training pictures": facts.get("images", "unknown"),
        "cameras": facts.get("cameras", "unknown"),
        "epochs": facts.get("epochs", "unknown"),
        "seed": facts.get("seed", "unknown"),
    }
    last = measures.get("train_inter", {})
    rows |= {"clusters in the last epoch": f"{last['clusters']:,.0f}"} if "clusters" in last else {}
    rows |= {"left as outliers then": f"{100 * last['outlier_share']:.1f} %"} if "outlier_share" in last else {}
    counted = measures.get("unzip", {})
    kinds = ("query_images", "gallery_images")
    rows |= {name.replace("_", " "): f"{counted[name]:,.0f}" for name in kinds if name in counted}
    return _table(rows)


def _worth(measures: Measures, false_match_rate: float) -> str:
    evaluated = measures.get("evaluate", {})
    rows = {title: f"{evaluated[name]:.1f} %" for name, title in RETRIEVAL.items() if name in evaluated}
    rows |= {title: f"{100 * evaluated[name]:.2f} %" for name, title in SHARES.items() if name in evaluated}
    if not rows:
        return "Not measured: no identities of queries and gallery were known."
    asked = f"\n\nThe threshold is the one for {100 * false_match_rate:g} % false matches."
    measured = SHARES.keys() & evaluated.keys()
    return f"On queries and gallery, after the last epoch, across cameras.\n\n{_table(rows)}{asked if measured else ''}"


def _calibration(calibration: Calibration) -> str:
    curve = calibration.pooled
    learnt = {
        "strangers": "on queries and gallery, which it was not trained on",
        "clusters": "on the very pictures that it was trained on, which flatters it",
    }[calibration.source]
    pairs = zip(curve.false_match_rates, curve.thresholds, strict=True)
    rows = {f"{100 * rate:g} %": f"{cosine:.3f}" for rate, cosine in pairs}
    formula = f"P(same) = 1 / (1 + exp(-({curve.slope:.3g} * cosine {curve.offset:+.3g})))"
    return (
        f"Learnt {learnt}, without identities, from {curve.pairs:,} pairs across cameras.\n{formula}, where "
        f"{100 * calibration.prior:.2g} % of pairs are the same.\n\n"
        + _table(rows, heads=("false matches", "cosine from which on"))
    )


def _use(onnx: str) -> str:
    return (
        '```python\nimport reidlib\n\nmodel = reidlib.load("model.safetensors")\nvectors = model.embed(["one.jpg", '
        '"another.jpg"])\n```' + (f"\n\n{onnx}" if onnx else "")
    )


def _table(rows: Mapping[str, Any], heads: tuple[str, str] = ("", "")) -> str:
    lines = [f"| {heads[0]} | {heads[1]} |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    return "\n".join(lines)
