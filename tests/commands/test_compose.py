"""Composition: params.yaml is written whole after its check, or not at all."""

import pytest
import yaml

from reidlib.commands.compose import compose_values, main


def test_params_are_what_conf_composes_to(tmp_path, capsys):
    path = tmp_path / "params.yaml"
    main(["dataset=market1501", "train_inter.epochs=7"], path=path)
    values = yaml.safe_load(path.read_text())
    assert values == compose_values(["dataset=market1501", "train_inter.epochs=7"])
    assert values["train_inter"]["epochs"] == 7 and values["dataset"]["name"] == "market1501"
    assert f"wrote {path}: dataset market1501; now: dvc repro" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dataset=nowhere"], r"conf/ does not compose with \['dataset=nowhere'\]"),
        (["seeed=1"], "conf/ does not compose"),
        (["train_inter.epochs=many"], "train_inter.epochs"),
        (["train_inter.learning_rate=-1"], "train_inter.learning_rate"),
    ],
)
def test_what_does_not_fit_leaves_params_alone(tmp_path, overrides, message):
    path = tmp_path / "params.yaml"
    path.write_text("as: it was\n")
    with pytest.raises(ValueError, match=message):
        main(overrides, path=path)
    assert path.read_text() == "as: it was\n"
