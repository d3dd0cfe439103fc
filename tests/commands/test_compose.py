"""Composition: params.yaml is written whole after its check, or not at all."""

import pytest
import yaml

from reidlib.commands.compose import chosen_overrides, compose_values, main


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


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["dataset=folder"],
        ["recipe=iids", "dataset=folder", "train_inter.epochs=20"],
        ["clustering@refine.method=infomap", "memory@train_inter.loss=hybrid_memory", "train_inter.decay_at=[3,5]"],
        ["dataset.camera_labels=false", "train_inter.clip_norm=1.5", "+train_inter.loss.triplet={margin: 0.3}"],
        ["extract.weights=my-file v2.pth", "~train_intra.loss.cluster_memory"],
    ],
)
def test_what_was_chosen_is_told_from_the_values(overrides):
    values = compose_values(overrides)
    found = chosen_overrides(values)
    assert compose_values(found) == values
    assert len(found) <= len(overrides) + 1 and set(overrides[:2]) & set(found) == {
        word for word in overrides[:2] if not word.startswith(("+", "~", "extract"))
    }


def test_values_of_no_recipe_have_no_short_name():
    assert chosen_overrides(compose_values([]) | {"name": "mine"}) is None


def test_a_folder_for_the_archive_is_made_but_for_what_is_rendered_or_pulled(tmp_path, capsys):
    path = tmp_path / "params.yaml"
    main([], path=path)
    assert not (tmp_path / "data").exists()
    main(["dataset=folder"], path=path)
    assert (tmp_path / "data/folder/raw").is_dir() and f"made {tmp_path}/data/folder/raw" in capsys.readouterr().out
    (tmp_path / "data/folder/raw").rmdir()
    (tmp_path / "data/folder/raw.dvc").touch()
    main(["dataset=folder"], path=path)
    assert not (tmp_path / "data/folder/raw").exists()
