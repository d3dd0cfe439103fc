"""dvc.yaml says all that a result depends on, no more and no less, and no identity reaches training."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import grimp
import pytest
import yaml

from reidlib.check import check_params
from reidlib.commands.compose import compose_values
from reidlib.settings import load_params

ROOT = Path(__file__).parent.parent
FILES = ("dvc.yaml", "data/synthetic/dvc.yaml", "transfer/dvc.yaml")
STAGES = {name: stage for file in FILES for name, stage in yaml.safe_load((ROOT / file).read_text())["stages"].items()}
NAMES = [
    "synthesize", "unzip", "extract", "cluster", "train_intra", "refine", "train_inter", "embed", "calibrate",
    "evaluate", "export", "report", "transfer",
]  # fmt: skip
RECIPES = sorted(path.stem for path in (ROOT / "conf/recipe").glob("*.yaml"))
DATASETS = sorted(path.stem for path in (ROOT / "conf/dataset").glob("*.yaml"))
NO_RESULT = ("reidlib.settings", "reidlib.check", "reidlib.running")  # refuse values or call stages; rerun nothing
GRAPH = grimp.build_graph("reidlib", "stages", cache_dir=None)
for module in NO_RESULT:
    GRAPH.remove_module(module)


def sources(stage: str) -> set[str]:
    """The packages and modules that a stage imports, directly or not, as paths."""
    paths = {"stages/__init__.py", f"stages/{stage}.py"}
    for name in GRAPH.find_upstream_modules(f"stages.{stage}") - {"reidlib", "stages"}:
        room = name.split(".")[1]
        paths.add(f"reidlib/{room}" if (ROOT / "reidlib" / room).is_dir() else f"reidlib/{room}.py")
    return paths


def test_the_stages_have_their_names():
    assert set(STAGES) == set(NAMES)
    assert {path.stem for path in (ROOT / "stages").glob("*.py")} == {*NAMES, "__init__"}


@pytest.mark.parametrize("stage", NAMES)
def test_a_stage_depends_on_exactly_the_code_it_imports(stage):
    assert {path for path in STAGES[stage]["deps"] if path.startswith(("stages/", "reidlib/"))} == sources(stage)


@pytest.mark.parametrize("stage", NAMES)
def test_a_stage_is_short(stage):
    assert len((ROOT / f"stages/{stage}.py").read_text().splitlines()) <= 40


def loaded(stage: str) -> list[str]:
    """The names that a stage's one call of `load_params` asks for; nothing else of params.yaml can reach it."""
    tree = ast.parse((ROOT / f"stages/{stage}.py").read_text())
    called = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "load_params"
    ]
    [call] = called
    return [ast.literal_eval(argument) for argument in call.args]


@pytest.mark.parametrize("stage", NAMES)
def test_a_stage_tracks_exactly_the_parameters_it_loads(stage):
    """Of `compute`, only what can move a result by rounding is tracked."""
    names = ["compute.precision" if name == "compute" else name for name in loaded(stage)]
    assert sorted(names) == sorted(STAGES[stage]["params"])


def _words(paths: list[str]) -> list[str]:
    return [word for path in paths for word in re.split(r"(\$\{[^}]*\})", path)]


@pytest.mark.parametrize("recipe", RECIPES)
def test_only_what_measures_depends_on_identities_but_in_recipes_that_say_supervised(recipe):
    values = compose_values([f"recipe={recipe}"])
    chosen = {"${supervision}": values["supervision"], "${source.identities}": values["source"]["identities"]}
    deps = {name: " ".join(chosen.get(word, word) for word in _words(stage["deps"])) for name, stage in STAGES.items()}
    users = {name for name, paths in deps.items() if "identities" in paths}
    assert users == {"evaluate", "report", "transfer"} | ({"cluster", "refine"} if "supervised" in recipe else set())


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_persons_links_reach_what_labels_across_cameras_and_the_page_in_recipes_that_say_assisted_alone(recipe):
    links = compose_values([f"recipe={recipe}"])["links"]
    deps = {name: " ".join(stage["deps"]).replace("${links}", links) for name, stage in STAGES.items()}
    users = {name for name, paths in deps.items() if "links.csv" in paths}
    assert users == ({"refine", "train_inter", "report"} if "assisted" in recipe else set())


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["links=links.csv"], "recipes whose name says assisted"),
        (["recipe=assisted_cues", "links=images/train/rows.parquet"], "links=links.csv"),
        (["recipe=assisted_cues", "clustering@refine.method=infomap"], "refine.method: infomap keeps no constraints"),
        (["refine.constraints=tracklet"], "refine.constraints"),
    ],
)
def test_links_and_constraints_that_cannot_be_are_refused(overrides, words):
    with pytest.raises(ValueError, match=words):
        check_params(compose_values(overrides))


def test_tracklets_may_be_the_classes_inside_cameras_alone():
    check_params(compose_values(["recipe=icsr", "clustering@cluster.method=tracklets"]))
    with pytest.raises(ValueError, match=r"refine\.method\.name"):
        check_params(compose_values(["clustering@refine.method=tracklets"]))


def test_only_what_measures_knows_a_name():
    """Names of files and folders spell identities in most datasets."""
    users = {name for name, stage in STAGES.items() if any("names.parquet" in path for path in stage["deps"])}
    assert users == {"evaluate", "report"}
    assert {stage for stage in NAMES if "names" in _options(stage)} == {"unzip", "evaluate", "report"}


def test_nothing_depends_on_what_is_measured_but_card_and_page_on_which_nothing_depends():
    metrics = {str(path) for name in ("evaluate", "transfer") for path in _outputs(STAGES[name])}
    users = {name for name, stage in STAGES.items() if metrics & set(stage["deps"])}
    assert metrics and users == {"export", "report"}
    told = {output for name in users for output in _outputs(STAGES[name])}
    assert told and not any(told & set(stage["deps"]) for stage in STAGES.values())


def test_a_source_brings_its_own_identities_never_the_datasets():
    with_source = compose_values(["source=other", "source.name=market1501"])["source"]
    assert with_source["identities"] == "market1501/identities.parquet"
    assert [stage for stage in NAMES if "data/${source.identities}" in STAGES[stage]["deps"]] == ["train_inter"]
    with pytest.raises(ValueError, match=r"source\.name: expected another dataset"):
        check_params(compose_values(["source=other", "source.name=synthetic"]))


def test_transfer_measures_the_datasets_it_is_told():
    assert STAGES["transfer"]["matrix"] == {"dataset": "${transfer.datasets}"} and compose_values([])["transfer"] == {
        "datasets": []
    }
    check_params(compose_values(["transfer.datasets=[market1501,msmt17]"]))
    with pytest.raises(ValueError, match=r"transfer\.datasets"):
        check_params(compose_values(["transfer.datasets=[../market1501]"]))


def test_no_other_stage_reads_identities():
    readers = {stage for stage in NAMES if "identities(" in (ROOT / f"stages/{stage}.py").read_text()}
    assert readers == {"evaluate", "transfer", "cluster", "refine"}
    given = {stage for stage in NAMES if "identities" in _options(stage)}
    assert given == {"unzip", "evaluate", "report", "transfer"}


def _options(stage: str) -> set[str]:
    """What the command of a stage gives it, by name."""
    return {word.removeprefix("--") for word in STAGES[stage]["cmd"].split() if word.startswith("--")}


@pytest.mark.parametrize(
    "override",
    [{"supervision": "identities.parquet"}, {"cluster": {"method": {"name": "identities"}}},
     {"refine": {"method": {"name": "identities"}}}],
)  # fmt: skip
def test_identities_are_labels_in_the_supervised_recipe_alone(override):
    with pytest.raises(ValueError, match="identities are labels in recipes whose name says supervised"):
        check_params(compose_values([]) | {key: compose_values([])[key] | value if isinstance(value, dict) else value
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
        ungiven = {out for out in outs if not any(out == path or out.startswith(f"{path}/") for path in paths)}
        assert not ungiven, f"{name}: outputs that the command does not get: {ungiven}"


def test_params_yaml_is_the_composed_default():
    assert yaml.safe_load((ROOT / "params.yaml").read_text()) == compose_values([])


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_recipe_and_dataset_composes(recipe, dataset):
    values = compose_values([f"recipe={recipe}", f"dataset={dataset}"])
    check_params(values)
    assert values["dataset"]["name"] == dataset


@pytest.mark.parametrize("section", ["cluster", "refine"])
@pytest.mark.parametrize("method", ["dbscan", "linkage", "infomap", "kmeans", "self_paced", "bottom_up"])
def test_every_method_composes_in_every_section(section, method):
    values = compose_values([f"clustering@{section}.method={method}"])
    check_params(values)
    assert values[section]["method"]["name"] == method


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ({"train_inter": {"epoch": 3}}, ["train_inter.epoch", "Extra inputs"]),
        ({"train_inter": {"epochs": "abc"}}, ["train_inter.epochs", "integer", "'abc'"]),
        ({"train_inter": {"learning_rate": -1.0}}, ["train_inter.learning_rate", "greater than 0"]),
        ({"unzip": {"on_bad_image": "ignore"}}, ["unzip.on_bad_image", "'error' or 'skip'"]),
        ({"dataset": {"reader": "markt"}}, ["dataset.reader", "market1501", "markt"]),
        ({"augment": {"blur": 2}}, ["augment.blur", "less than or equal to 1"]),
        ({"train_inter": {"loss": {"triplet": {"margin": -1.0}}}}, ["train_inter.loss.triplet.margin"]),
        ({"train_intra": {"epochs": 0}, "train_inter": {"start_from": "intra"}}, ["train_inter.start_from=initial"]),
        ({"cluster": {"method": "none"}}, ["makes no local labels", "train_intra.epochs, refine.nodes"]),
        ({"nothing": 1}, ["nothing", "Extra inputs"]),
        ({"train_inter": {"start_from": "intra"}}, ["per_camera", "start_from=initial"]),
        ({"cluster": {"method": {"quantile": 0.1}}}, ["exactly one of"]),
        ({"refine": {"method": {"name": "dbsan"}}}, ["refine.method", "dbsan"]),
    ],
)
def test_a_wrong_parameter_is_named(override, words):
    values = compose_values(["recipe=icsr"])  # which has every stage

    def merge(into, new):
        for key, value in new.items():
            if key == "method" and value == "none":
                into[key] = {"name": "none"}
            elif isinstance(value, dict):
                merge(into.setdefault(key, {}), value)
            else:
                into[key] = value

    merge(values, override)
    with pytest.raises(ValueError) as caught:
        check_params(values)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("overrides", [["recipe=nothing"], ["train_inter.epoch=3"], ["nonsense"]])
def test_an_unknown_override_is_refused(overrides):
    with pytest.raises(ValueError, match="does not compose"):
        compose_values(overrides)


def test_params_yaml_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="python -m reidlib compose"):
        load_params("seed", path=tmp_path / "params.yaml")
