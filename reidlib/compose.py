"""Compose conf/ into params.yaml: ``python -m reidlib.compose recipe=icsr dataset=market1501 train_inter.epochs=20``.

``dvc exp run -S ...`` does the same by itself; this is for people who use ``dvc repro``, which takes params.yaml as it
stands. Overrides are Hydra's: ``group=option`` or ``section.key=value``.
"""

import sys
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf

from reidlib.artifacts import atomic_file
from reidlib.params import parse

CONF = Path(__file__).resolve().parent.parent / "conf"


def composed(overrides: list[str], *, conf: Path = CONF) -> dict[str, Any]:
    """Return conf/ composed with the overrides, as plain Python values.

    Raises:
        ValueError: for an unknown group, option or key, with what Hydra found.
    """
    try:
        with initialize_config_dir(config_dir=str(conf), version_base=None):
            values = OmegaConf.to_container(compose("config", overrides=overrides), resolve=True)
    except HydraException as error:
        raise ValueError(f"conf/ does not compose with {overrides}: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{conf}/config.yaml: expected a mapping at the top, found {type(values).__name__}")
    return {str(key): value for key, value in values.items()}


def check(values: dict[str, Any]) -> None:
    """Check composed values against the schema, and the losses against the terms they choose.

    Raises:
        ValueError: naming every key that does not fit.
    """
    from reidlib.training.objective import Objective  # imports torch, which composing alone does without

    params = parse(values)
    for name, section in (("train_intra", params.train_intra), ("train_inter", params.train_inter)):
        if section.epochs:
            Objective(section.phase_values()["loss"], where=f"{name}.loss")


def main(overrides: list[str], *, path: Path = Path("params.yaml")) -> None:
    """Write params.yaml as DVC's own composition writes it, after checking it against the schema."""
    values = composed(overrides)
    check(values)
    with atomic_file(path) as temporary:
        OmegaConf.save(OmegaConf.create(values), temporary)
    print(f"wrote {path}: dataset {values['dataset']['name']}; now: dvc repro")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ValueError as error:
        sys.exit(f"error: {error}")
