"""The model card as the hub's own library reads it, and what it says."""

import pytest
from huggingface_hub import ModelCard

from reidlib.calibration.calibration import Calibration, Curve
from reidlib.export.card import model_card
from reidlib.models.architecture import Architecture
from reidlib.models.description import Description

FACTS = {"recipe": "icsr", "dataset": "market1501", "seed": 3, "images": 704, "cameras": 2, "epochs": 12}
SHAPE = Architecture(backbone="resnet50", last_stride=1, pooling="gem", gem_power=3.0, batch_norm_group=64)
CURVE = Curve(
    slope=9.25, offset=-4.5, false_match_rates=(0.01, 0.1), thresholds=(0.412, 0.2), pairs=57_600, strangers=168_960
)
MEASURES = {
    "unzip": {"train_images": 704, "query_images": 240, "gallery_images": 1_240},
    "train_inter": {"clusters": 51, "outlier_share": 0.25},
    "evaluate": {
        "inter_mAP": 61.234, "inter_mINP": 40.0, "inter_rank1": 80.0, "inter_rank5": 90.0,
        "inter_calibration_error": 0.0154, "inter_false_match_rate": 0.008, "inter_identified_at_fpir_1": 0.5,
    },
}  # fmt: skip


def card(facts=FACTS, measures=MEASURES, source="strangers", onnx=""):
    description = Description(architecture=SHAPE, picture_size_px=(256, 128), training=facts)
    calibration = Calibration(prior=0.018, source=source, pooled=CURVE)
    return model_card(description, calibration=calibration, measures=measures, false_match_rate=0.01, onnx=onnx)


def test_the_hub_reads_its_front_matter_and_figures():
    data = ModelCard(card()).data
    assert data.license == "other" and data.library_name == "reidlib" and "unsupervised" in data.tags
    assert data.model_name == "reidlib-icsr-market1501"
    figures = {result.metric_name: result.metric_value for result in data.eval_results}
    assert figures == {"mAP": 61.23, "mINP": 40.0, "Rank-1": 80.0, "Rank-5": 90.0}
    assert {result.dataset_name for result in data.eval_results} == {"market1501"}


def test_it_tells_recipe_counts_seed_figures_calibration_limits_and_terms():
    text = " ".join(card(onnx="model.onnx is the same.").split())
    for words in (
        "| recipe | icsr (without any identity label) |", "| network | resnet50 |", "| training pictures | 704 |",
        "| seed | 3 |", "| clusters in the last epoch | 51 |", "| left as outliers then | 25.0 % |",
        "| gallery images | 1,240 |", "| mAP | 61.2 % |", "| calibration error | 1.54 % |",
        "| false matches at the threshold | 0.80 % |", "The threshold is the one for 1 % false matches.",
        "exp(-(9.25 * cosine -4.5)))", "where 1.8 % of pairs are the same", "from 57,600 pairs", "| 1 % | 0.412 |",
        "which it was not trained on", "## Limits", "## Terms of use", "256 x 128 pixels", "model.onnx is the same.",
    ):  # fmt: skip
        assert words in text


def test_what_is_not_known_is_not_made_up():
    text = card(facts={}, measures={}, source="clusters")
    assert "Not measured: no identities" in text and "which flatters it" in text and "mAP" not in text
    assert ModelCard(text).data.eval_results is None
    assert "unknown (without any identity label)" in text


@pytest.mark.parametrize(("recipe", "words"), [("agw_supervised", "identities were the labels")])
def test_a_supervised_model_says_so(recipe, words):
    text = card(facts=FACTS | {"recipe": recipe})
    assert words in text and "supervised" in ModelCard(text).data.tags
