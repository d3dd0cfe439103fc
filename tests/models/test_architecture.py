"""The schema of the section `model`, and what importing the networks costs."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import yaml

from reidlib import settings
from reidlib.models.architecture import Architecture, Pooling
from reidlib.models.pooling import POOLINGS

ROOT = Path(__file__).parents[2]
VALUES = {"backbone": "resnet18_half", "last_stride": 1, "pooling": "gem", "gem_power": 3.0, "batch_norm_group": 64}


def check(**values):
    return settings.arguments(values, of=Architecture, where="model", given=("cameras",))


def test_the_section_model_is_its_arguments():
    architecture = Architecture(**check(**VALUES, attention_settings={}), cameras=3)
    assert (architecture.gem_power, architecture.cameras, architecture.size_px) == (3.0, 3, None)
    assert Architecture(**check(**VALUES, height_px=8, width_px=4)).size_px == (8, 4)
    keys = yaml.safe_load((ROOT / "conf" / "config.yaml").read_text())["model"].keys()
    assert {*keys, "backbone", "last_stride"} == check(**VALUES).keys()
    assert set(get_args(Pooling)) == POOLINGS.keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"last_stride": 3}, "model.last_stride: Input should be 1 or 2"),
        ({"pooling": "median"}, "model.pooling: .*found: 'median'"),
        ({"gem_power": 0.5}, "model.gem_power: .*found: 0.5"),
        ({"gem_power": float("nan")}, "model.gem_power: .*found: nan"),
        ({"batch_norm_group": 1}, "model.batch_norm_group: .*found: 1"),
        ({"height_px": 0}, "model.height_px"),
        ({"patch_stride": 0}, "model.patch_stride"),
        ({"drop_path": 1.0}, "model.drop_path"),
        ({"normalisation": "layer"}, "model.normalisation"),
        ({"attention_settings": 4}, "model.attention_settings"),
        ({"cameras": 2}, "model.cameras: Extra"),
        ({"mean": (0.5, 0.5, 0.5)}, "model.mean: Extra"),  # it comes with the weights
        ({"poolnig": "gem"}, "model.poolnig: Extra"),
    ],
)
def test_values_out_of_range_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        check(**VALUES | changes)


def test_it_comes_back_from_text_which_may_lack_what_has_a_default():
    chosen = Architecture(**VALUES, attention="se", attention_settings={"reduction": 4}, mean=(0.5, 0.5, 0.25))
    again = Architecture.from_json(chosen.to_json())
    assert again == chosen and again.preprocessing == chosen.preprocessing and again.mean == (0.5, 0.5, 0.25)
    before = '{"backbone": "gam", "last_stride": 2, "pooling": "max", "gem_power": 3, "batch_norm_group": 16}'
    values = {"backbone": "gam", "last_stride": 2, "pooling": "max", "gem_power": 3.0, "batch_norm_group": 16}
    assert Architecture.from_json(before) == Architecture(**values)
    text = chosen.to_json()
    for broken in ("", "[]", "{}", text.replace("backbone", "bone"), text.replace('"std":[0.229', '"std":[0')):
        with pytest.raises(ValueError):
            Architecture.from_json(broken)
    assert text == replace(chosen).to_json()


IMPORTS = """
import importlib, pkgutil, sys
import reidlib.models.architecture
assert "torch" not in sys.modules
import reidlib.models
for module in pkgutil.iter_modules(reidlib.models.__path__, "reidlib.models."):
    importlib.import_module(module.name)
from reidlib.models.backbones import backbone
backbone("osnet_x0_25")
backbone("osnet_ain_x0_25")
backbone("lightmbn_x0_25")
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"timm", "torchvision", "pytorch_metric_learning"}))
"""


def test_importing_the_networks_loads_neither_timm_nor_torchvision():
    finished = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert (finished.returncode, finished.stdout.strip()) == (0, ""), finished.stderr
