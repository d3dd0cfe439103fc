"""dvc.yaml says all that a result depends on, no more and no less, and no identity reaches training."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import grimp
import pytest
import yaml

from reidlib.compose import composed
from reidlib.params import Params, load_params, parse

ROOT = Path(__file__).parent.parent
FILES = ("dvc.yaml", "data/synthetic/dvc.yaml", "transfer/dvc.yaml")
STAGES = {name: stage for file in FILES for name, stage in yaml.safe_load((ROOT / file).read_text())["stages"].items()}
NAMES = ["synthesize", "unzip", "extract", "cluster", "train_intra", "refine", "train_inter", "evaluate", "transfer"]
RECIPES = sorted(path.stem for path in (ROOT / "conf/recipe").glob("*.yaml"))
DATASETS = sorted(path.stem for path in (ROOT / "conf/dataset").glob("*.yaml"))
GRAPH = grimp.build_graph("reidlib", "stages", cache_dir=None)


def sources(stage: str) -> set[str]:
    """The packages and modules that a stage imports, directly or not, as paths."""
    module = f"stages.{stage}"
    found = {module, "stages", *GRAPH.find_upstream_modules(module)} - {"reidlib"}
    paths = set()
    for name in found:
        parts = name.split(".")
        if parts[0] == "stages":
            paths.add("stages/__init__.py" if name == "stages" else f"stages/{parts[1]}.py")
        else:
            package = ROOT / "reidlib" / parts[1]
            paths.add(f"reidlib/{parts[1]}" if package.is_dir() else f"reidlib/{parts[1]}.py")
    return paths


def test_the_stages_have_their_names():
    assert set(STAGES) == set(NAMES)
    assert {path.stem for path in (ROOT / "stages").glob("*.py")} == {*NAMES, "__init__", "training"}


@pytest.mark.parametrize("stage", NAMES)
def test_a_stage_depends_on_exactly_the_code_it_imports(stage):
    code = {path for path in STAGES[stage]["deps"] if path.startswith(("stages/", "reidlib/"))}
    imported = sources(stage) | {"stages/__init__.py"}
    for source in list(imported):  # what the shared command line of the stages needs
        imported |= {"reidlib/artifacts.py"} if source == "stages/__init__.py" else set()
    assert code == imported


def source_tree(stage: str) -> ast.Module:
    """A stage's source, with the functions of stages/training.py that it imports."""
    tree = ast.parse((ROOT / f"stages/{stage}.py").read_text())
    shared = ast.parse((ROOT / "stages/training.py").read_text()).body
    for node in list(tree.body):
        if isinstance(node, ast.ImportFrom) and node.module == "stages.training":
            names = {alias.name for alias in node.names}
            tree.body += [part for part in shared if isinstance(part, ast.FunctionDef) and part.name in names]
    return tree


@pytest.mark.parametrize("stage", NAMES)
def test_a_stage_tracks_the_parameters_it_reads(stage):
    """Every `params.a.b` of a stage's source is tracked, and every tracked section is read.

    Of `compute`, only what can move a result by rounding is tracked.
    """
    tree = source_tree(stage)
    methods = {
        "compute": {"compute.precision", "compute.compile"},
        "cameras": {"dataset.camera_labels"},
        "jaccard": {"refine.k1", "refine.k2"},
        "global_labelling": {"refine", "dataset.camera_labels"},
    }
    read: set[str] = set()
    inside: set[ast.AST] = set()  # a.b of a.b.c, which the walk meets after it
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            inside.add(node.value)
            if node in inside:
                continue
            chain, inner = [node.attr], node.value
            while isinstance(inner, ast.Attribute):
                chain, inner = [inner.attr, *chain], inner.value
            is_params = isinstance(inner, ast.Name) and inner.id == "params"
            is_call = (
                isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id == "load_params"
            )
            if is_params or is_call:
                read |= methods.get(chain[0], {".".join(chain)})
    tracked = set(STAGES[stage]["params"])
    covered = {name for name in read if any(name == entry or name.startswith(f"{entry}.") for entry in tracked)}
    assert read == covered, f"read but not tracked: {read - covered}"
    unread = {entry for entry in tracked if not any(name == entry or name.startswith(f"{entry}.") for name in read)}
    assert unread <= {"dataset.name"}, f"tracked but not read: {unread}"


def _words(paths: list[str]) -> list[str]:
    return [word for path in paths for word in re.split(r"(\$\{[^}]*\})", path)]


@pytest.mark.parametrize("recipe", RECIPES)
def test_only_what_measures_depends_on_identities_but_in_recipes_that_say_supervised(recipe):
    values = composed([f"recipe={recipe}"])
    chosen = {"${supervision}": values["supervision"], "${source.identities}": values["source"]["identities"]}
    deps = {name: " ".join(chosen.get(word, word) for word in _words(stage["deps"])) for name, stage in STAGES.items()}
    users = {name for name, paths in deps.items() if "identities" in paths}
    assert users == {"evaluate", "transfer"} | ({"cluster", "refine"} if "supervised" in recipe else set())


def test_nothing_depends_on_what_is_measured():
    metrics = {str(path) for name in ("evaluate", "transfer") for path in _outputs(STAGES[name])}
    deps = {path for stage in STAGES.values() for path in stage["deps"]}
    assert metrics and not deps & metrics


def test_a_source_brings_its_own_identities_never_the_datasets():
    with_source = composed(["source=other", "source.name=market1501"])["source"]
    assert with_source["identities"] == "market1501/identities.parquet"
    assert [stage for stage in NAMES if "data/${source.identities}" in STAGES[stage]["deps"]] == ["train_inter"]
    with pytest.raises(ValueError, match=r"source\.name: expected another dataset"):
        parse(composed(["source=other", "source.name=synthetic"]))


def test_transfer_measures_the_datasets_it_is_told():
    assert STAGES["transfer"]["matrix"] == {"dataset": "${transfer.datasets}"} and composed([])["transfer"] == {
        "datasets": []
    }
    assert parse(composed(["transfer.datasets=[market1501,msmt17]"])).transfer.datasets == ["market1501", "msmt17"]
    with pytest.raises(ValueError, match=r"transfer\.datasets"):
        parse(composed(["transfer.datasets=[../market1501]"]))


def test_no_other_stage_reads_identities():
    readers = {stage for stage in NAMES if "identities(" in (ROOT / f"stages/{stage}.py").read_text()}
    assert readers == {"evaluate", "transfer", "cluster", "refine"}


@pytest.mark.parametrize(
    "override",
    [{"supervision": "identities.parquet"}, {"cluster": {"method": {"name": "identities"}}},
     {"refine": {"method": {"name": "identities"}}}],
)  # fmt: skip
def test_identities_are_labels_in_the_supervised_recipe_alone(override):
    with pytest.raises(ValueError, match="identities are labels in recipes whose name says supervised"):
        parse(composed([]) | {key: composed([])[key] | value if isinstance(value, dict) else value
                              for key, value in override.items()})  # fmt: skip


def _outputs(stage: dict) -> list[str]:
    outs = stage.get("outs", []) + stage.get("metrics", [])
    return [next(iter(out)) if isinstance(out, dict) else out for out in outs]


def test_every_path_in_a_command_is_a_dependency_or_an_output():
    for name, stage in STAGES.items():
        words = stage["cmd"].split()
        paths = {word for before, word in pairwise(words) if before.startswith("--")}
        outs = _outputs(stage)
        named = {*stage["deps"], *outs}
        missing = {path for path in paths if path not in named and not any(dep.startswith(f"{path}/") for dep in named)}
        missing = {path for path in missing if not path.startswith(".scratch/")}  # checkpoints: gone when a stage ends
        assert not missing, f"{name}: {missing}"
        assert set(outs) <= paths, f"{name}: outputs that the command does not get: {set(outs) - paths}"


def test_params_yaml_is_the_composed_default():
    assert yaml.safe_load((ROOT / "params.yaml").read_text()) == composed([])


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_recipe_and_dataset_composes(recipe, dataset):
    params = parse(composed([f"recipe={recipe}", f"dataset={dataset}"]))
    assert params.dataset.name == dataset


@pytest.mark.parametrize("section", ["cluster", "refine"])
@pytest.mark.parametrize("method", ["dbscan", "linkage", "infomap", "kmeans", "self_paced", "bottom_up"])
def test_every_method_composes_in_every_section(section, method):
    params = parse(composed([f"clustering@{section}.method={method}"]))
    assert getattr(params, section).method.name == method


def test_every_value_of_the_schema_is_in_conf():
    assert set(Params.model_fields) == set(composed([]))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ({"train_inter": {"epoch": 3}}, ["train_inter.epoch", "Extra inputs"]),
        ({"train_inter": {"epochs": "abc"}}, ["train_inter.epochs", "integer", "'abc'"]),
        ({"train_inter": {"learning_rate": -1.0}}, ["train_inter.learning_rate", "greater than 0"]),
        ({"unzip": {"on_bad_image": "ignore"}}, ["unzip.on_bad_image", "'error' or 'skip'"]),
        ({"train_intra": {"sharing": "per_camera"}}, ["start_from=initial"]),
        ({"cluster": {"method": {"quantile": 0.1}}}, ["exactly one of"]),
        ({"refine": {"method": {"name": "dbsan"}}}, ["refine.method", "dbsan"]),
    ],
)
def test_a_wrong_parameter_is_named(override, words):
    values = composed([])

    def merge(into, new):
        for key, value in new.items():
            if isinstance(value, dict):
                merge(into[key], value)
            else:
                into[key] = value

    merge(values, override)
    with pytest.raises(ValueError) as caught:
        parse(values)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("overrides", [["recipe=nothing"], ["train_inter.epoch=3"], ["nonsense"]])
def test_an_unknown_override_is_refused(overrides):
    with pytest.raises(ValueError, match="does not compose"):
        composed(overrides)


def test_params_yaml_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"reidlib\.compose"):
        load_params(tmp_path / "params.yaml")
