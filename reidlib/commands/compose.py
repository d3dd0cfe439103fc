"""Compose conf/ into params.yaml: ``reidlib compose recipe=icsr dataset=market1501 train_inter.epochs=20``.

``dvc exp run -S ...`` does the same by itself; this is for people who use ``dvc repro``, which takes params.yaml as it
stands. Overrides are Hydra's: ``group=option`` or ``section.key=value``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reidlib.commands.parsing import command_parser
from reidlib.files import atomic_file

HELP = "compose conf/ into params.yaml, in the pipeline's repository"
EXAMPLE = "reidlib compose recipe=icsr dataset=market1501 train_inter.epochs=20"
CONF = (
    Path(__file__).resolve().parents[2] / "conf"
)  # beside the library in the repository, absent where it is installed


def compose_values(overrides: list[str], *, conf: Path | None = None) -> dict[str, Any]:
    """Return conf/ composed with the overrides, as plain Python values.

    Args:
        overrides: as Hydra takes them.
        conf: the folder; the repository's without, or that of the working directory where the library is installed.

    Raises:
        ValueError: for an unknown group, option or key, with what Hydra found; where there is no such folder, no Hydra.
    """
    conf = conf or (CONF if CONF.is_dir() else Path("conf").resolve())
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
    print(f"wrote {path}: dataset {values['dataset']['name']}; now: dvc repro")
