"""Compose conf/ into params.yaml: ``reidlib compose recipe=icsr dataset=market1501 train_inter.epochs=20``.

``dvc exp run -S ...`` does the same by itself; this is for people who use ``dvc repro``, which takes params.yaml as it
stands. Overrides are Hydra's: ``group=option`` or ``section.key=value``.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reidlib.commands.parsing import command_parser
from reidlib.files import atomic_file

HELP = "compose conf/ into params.yaml, in the pipeline's repository"
EXAMPLE = "reidlib compose recipe=icsr dataset=market1501 train_inter.epochs=20"
METHODS = (  # groups whose options stand in another section: group, section, key
    ("clustering", "cluster", "method"), ("clustering", "refine", "method"), ("memory", "train_intra", "loss"),
    ("memory", "train_inter", "loss"),
)  # fmt: skip
CONF = (
    Path(__file__).resolve().parents[2] / "conf"
)  # beside the library in the repository; nowhere where it is installed


def compose_values(overrides: list[str], *, conf: Path | None = None) -> dict[str, Any]:
    """Return conf/ composed with the overrides, as plain Python values.

    Args:
        overrides: as Hydra takes them.
        conf: the folder; the repository's without, or that of the working directory where the library is installed.

    Raises:
        ValueError: for an unknown group, option or key, with what Hydra found; where there is no such folder, no Hydra.
    """
    conf = conf or repository_conf()
    if not (conf / "config.yaml").is_file():
        raise ValueError(f"{conf}/config.yaml: not found; clone the pipeline's repository and run this in it")
    try:
        from hydra import compose, initialize_config_dir  # half a second that the other commands do without
        from hydra.errors import HydraException
        from omegaconf import OmegaConf
    except ModuleNotFoundError as error:
        raise ValueError("Hydra is not installed, which composes conf/: pip install 'reidlib[pipeline]'") from error

    try:
        with initialize_config_dir(config_dir=str(conf), version_base=None):
            values = OmegaConf.to_container(compose("config", overrides=overrides), resolve=True)
    except HydraException as error:
        raise ValueError(f"conf/ does not compose with {overrides}: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{conf}/config.yaml: expected a mapping at the top, found {type(values).__name__}")
    return {str(key): value for key, value in values.items()}


def repository_conf() -> Path:
    """Return the repository's conf/, or that of the working directory where the library is installed."""
    return CONF if CONF.is_dir() else Path("conf").resolve()


def chosen_overrides(values: Mapping[str, Any], *, conf: Path | None = None) -> list[str] | None:
    """Return the overrides that compose to these values of params.yaml; None where none were found that do.

    Groups first, then single values. An experiment composes params.yaml anew, so that what it does not repeat is lost.
    """
    conf = conf or repository_conf()
    plain = compose_values([], conf=conf)
    groups = {"recipe": values["name"], "dataset": values["dataset"]["name"]}
    standing = {"recipe": plain["name"], "dataset": plain["dataset"]["name"]}
    found = [f"{group}={name}" for group, name in groups.items() if name != standing[group]]
    if any(not (conf / group / f"{name}.yaml").is_file() for group, name in groups.items()):
        return None
    for group, place, key in METHODS:
        if (block := values[place][key]) != compose_values(found, conf=conf)[place][key]:
            names = sorted(path.stem for path in (conf / group).glob("*.yaml"))
            fitting = [f"{group}@{place}.{key}={name}" for name in names]
            found += [one for one in fitting if compose_values([*found, one], conf=conf)[place][key] == block][:1]
    before, after = _leaves(compose_values(found, conf=conf)), _leaves(values)
    found += [
        f"{'' if key in before else '+'}{key}={_word(after[key])}" for key in after if after[key] != before.get(key)
    ]
    found += [f"~{key}" for key in before if key not in after]
    try:
        return found if compose_values(found, conf=conf) == values else None
    except ValueError:
        return None


def _leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return every value by its dotted name; an empty mapping is one."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        inside = isinstance(value, Mapping) and value
        leaves |= _leaves(value, f"{prefix}{key}.") if inside else {f"{prefix}{key}": value}
    return leaves


def _word(value: Any) -> str:
    """Return a value as Hydra reads it on a command line."""
    plain = isinstance(value, str) and value.replace("_", "a").isalnum()
    return str(value) if plain else json.dumps(value)


def main(arguments: Sequence[str], *, path: Path = Path("params.yaml")) -> None:
    """Write params.yaml as DVC's own composition writes it, after checking it against the schema."""
    parser = command_parser("compose", HELP, EXAMPLE)
    parser.add_argument("overrides", nargs="*", help="group=option or section.key=value, as Hydra takes them")
    values = compose_values(parser.parse_args(arguments).overrides)

    from omegaconf import OmegaConf

    from reidlib.check import check_params  # imports torch, which composing alone does without

    check_params(values)
    with atomic_file(path) as temporary:
        OmegaConf.save(OmegaConf.create(values), temporary)
    name = values["dataset"]["name"]
    raw = path.parent / "data" / name / "raw"
    if name != "synthetic" and not (raw.exists() or raw.with_suffix(".dvc").exists()):
        raw.mkdir(parents=True)  # without it DVC would say "[Errno 2]" and no more
        print(f"made {raw}: put the dataset's archive there, as downloaded")
    print(f"wrote {path}: dataset {name}; now: dvc repro")
