from dataclasses import replace

import numpy as np
import pytest
import torch

from reidlib.labels.icsr import GlobalLabeller, global_labels
from reidlib.models.embedder import new_embedder
from reidlib.training import loop, precision
from reidlib.training.distributed import ALONE
from reidlib.training.intra import Inside, train_inside, train_shared
from reidlib.training.loop import train
from reidlib.training.phases import LocalLabeller
from reidlib.training.plan import IntraStage
from reidlib.training.results import training_result
from tests.training.plans import BATCHES, GLOBAL, LOCAL, fixed_phase, settings_of, small


def inside(*, keep="best_silhouette", sharing="shared", **changes):
    stage = IntraStage(sharing=sharing, keep=keep)
    return Inside(stage=stage, labelling=LOCAL, batches=BATCHES, settings=settings_of(**changes))


def test_two_runs_are_equal_and_another_seed_differs(crops):
    images, cameras, people = crops
    states, losses = [], []
    for seed in (3, 3, 4):
        model = new_embedder(small(), seed=0)
        history = train(model, images, cameras, phases=fixed_phase(people), settings=settings_of(seed=seed))
        states.append(model.state_dict())
        losses.append([curve["loss"] for curve in history.curves])
    assert losses[0] == losses[1] != losses[2]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_training_lowers_the_loss_and_steps_the_learning_rate(crops):
    images, cameras, people = crops
    model = new_embedder(small(), seed=0)
    settings = settings_of(epochs=3, iterations=10, decay_at=[2])
    phases = fixed_phase(people, clusters_per_batch=8, images_per_cluster=4)
    history = train(model, images, cameras, phases=phases, settings=settings)
    trained = training_result(model, history)
    curves, table = trained.curves, trained.epochs
    assert curves["loss"].iloc[-1] < 0.7 * curves["loss"].iloc[0]
    np.testing.assert_allclose(curves["learning_rate"], [1e-3, 1e-3, 1e-4])
    assert curves["epoch"].tolist() == [1, 2, 3] and not model.training
    assert table["epoch"].tolist() == [0] * 48 + [1] * 48 + [2] * 48
    np.testing.assert_array_equal(table["label"].to_numpy(), np.tile(people, 3))


@pytest.mark.parametrize("number", [2, 15, 20])
def test_batches_of_every_camera_take_two_steps_whatever_the_number_of_cameras(number):
    """As `iids` draws them: 4 clusters of 2 images of each camera, 120 images for MSMT17, 160 for VeRi-776."""
    labels = np.repeat(np.arange(4 * number, dtype=np.int32), 2)
    cameras = np.repeat(np.arange(number, dtype=np.int16), 8)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 16, 8, 3), dtype=np.uint8)
    loss = {"camera_classifiers": {"distillation": 1.0}}
    phases = fixed_phase(labels, sampling="every_camera", local=True, loss=loss)
    history = train(new_embedder(small(normalisation="aibn"), seed=0), images, cameras, phases=phases,
                    settings=settings_of(epochs=1, iterations=2, decay_at=[]))  # fmt: skip
    assert np.isfinite(history.curves[0]["loss"])


def test_images_that_are_all_alike_are_no_collapse_of_training(crops):
    images, cameras, people = crops
    alike = np.repeat(images[:1], len(images), axis=0)
    with pytest.raises(ValueError, match=r"before the first step all embeddings .*are the images all alike"):
        train(new_embedder(small(), seed=0), alike, cameras, phases=fixed_phase(people), settings=settings_of())


def test_a_loss_that_is_not_finite_stops_with_the_epoch_and_the_rate(crops):
    images, cameras, people = crops
    with pytest.raises(ValueError, match=r"epoch 1, iteration \d is (nan|inf) at learning rate 1e\+30"):
        train(
            new_embedder(small(), seed=0),
            images,
            cameras,
            phases=fixed_phase(people),
            settings=settings_of(learning_rate=1e30),
        )


def test_embeddings_that_collapse_stop_the_run(crops, monkeypatch):
    images, cameras, people = crops
    one, whole, calls = np.zeros((48, 256), np.float32), loop.embed, []
    one[:, :2] = 0.6, 0.8

    def embed(*arguments, **values):
        calls.append(len(calls))
        return whole(*arguments, **values) if len(calls) == 1 else one

    monkeypatch.setattr(loop, "embed", embed)
    with pytest.raises(ValueError, match="collapsed: at the start of epoch 2 all embeddings are nearly one"):
        train(new_embedder(small(), seed=0), images, cameras, phases=fixed_phase(people), settings=settings_of())


def test_precision_auto_is_told_by_device_and_network(crops, monkeypatch, capsys):
    images, cameras, people = crops
    cpu, model = torch.device("cpu"), new_embedder(small(), seed=0)
    depthwise = torch.nn.Conv2d(8, 8, 3, groups=8)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    for there, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda there=there: there)
        assert precision.faster_precision(model, cpu) == expected
        assert precision.faster_precision(depthwise, cpu) == "fp32"
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, there=there: there)
        assert precision.faster_precision(depthwise, torch.device("cuda")) == expected
    settings = settings_of(precision="auto", epochs=1, iterations=1)
    train(new_embedder(small(), seed=0), images, cameras, phases=fixed_phase(people), settings=settings)
    assert "precision auto: fp32" in capsys.readouterr().out


def test_bfloat16_trains_and_clipping_bounds_the_step(crops):
    images, cameras, people = crops
    wide = images.repeat(2, axis=1).repeat(4, axis=2)
    for changes in ({"precision": "bf16"}, {"clip_norm": 1e-12}):
        model = new_embedder(small(), seed=0)
        history = train(model, wide, cameras, phases=fixed_phase(people), settings=settings_of(**changes))
        assert np.isfinite(history.curves[-1]["loss"])
        assert all(value.dtype != torch.bfloat16 for value in model.state_dict().values())


def test_images_too_narrow_for_bfloat16_on_a_cpu_are_trained_on_in_float32(crops, monkeypatch, capsys):
    """torch 2.15's convolution of stride 2 multiplies memory that it has not written, where there are two columns."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    images, cameras, people = crops
    for width, stride, expected in ((8, 1, "fp32"), (16, 1, "fp32"), (17, 1, "bf16"), (32, 2, "fp32"), (33, 2, "bf16")):
        model = new_embedder(small(last_stride=stride), seed=0)
        for asked in ("auto", "bf16"):
            found = precision.usable_precision(asked, model, torch.device("cpu"), size_px=(64, width))
            assert (found, model.training) == (expected, True)
    assert precision.usable_precision("bf16", model, torch.device("cuda"), size_px=(64, 8)) == "bf16"
    assert precision.usable_precision("fp32", model, torch.device("cpu"), size_px=(64, 64)) == "fp32"
    states = {}
    for asked in ("bf16", "fp32"):
        model, settings = new_embedder(small(), seed=0), settings_of(precision=asked, epochs=1)
        train(model, images, cameras, phases=fixed_phase(people), settings=settings)
        states[asked] = model.state_dict()
        assert ("precision bf16: fp32, the images are too narrow" in capsys.readouterr().out) == (asked == "bf16")
    assert all(torch.equal(states["bf16"][name], value) for name, value in states["fp32"].items())


def test_the_first_epoch_takes_the_labels_it_is_given(crops):
    _, cameras, people = crops
    embeddings = np.linalg.qr(np.random.default_rng(0).normal(size=(48, 48)))[0].astype(np.float32)
    local = np.where(cameras == 0, people, people + 8).astype(np.int32)
    label = LocalLabeller(first=local, cameras=cameras, labelling=LOCAL, seed=0)
    np.testing.assert_array_equal(label(0, embeddings, ALONE, []).labels, local)
    label = GlobalLabeller(first=people, local=local, cameras=cameras, labelling=GLOBAL, seed=0, epochs=1)
    first = label(0, embeddings, ALONE, [])
    np.testing.assert_array_equal(first.labels, people)
    assert first.measures == {"clusters": 8.0, "outlier_share": 0.0, "camera_span": 1.0}


def separated(people, *, spread, seed=0):
    generator = np.random.default_rng(seed)
    rows = np.eye(8, 16)[people] + spread * generator.normal(size=(len(people), 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_global_labels_find_separated_people_and_refinement_only_removes(crops):
    _, cameras, people = crops
    local = np.where(cameras == 0, people, people + 8).astype(np.int32)
    embeddings = separated(people, spread=0.01)
    method = {"name": "dbscan", "eps": 0.6, "min_samples": 2}
    kinds = {}
    for nodes in ("none", "one", "all"):
        labelling = replace(GLOBAL, method=method, nodes=nodes, camera_alignment="none")
        found = global_labels(embeddings, local, cameras, labelling=labelling, seed=0)
        kinds[nodes] = found.labels
        kept = found.labels >= 0
        assert len({tuple(pair) for pair in zip(found.labels[kept], people[kept], strict=True)}) == 8
        assert found.measures["refined_share"] == pytest.approx((~kept).mean())
    np.testing.assert_array_equal(kinds["none"], people)
    np.testing.assert_array_equal(kinds["all"], people)  # local and global labels agree: nothing to remove


def test_far_fewer_images_than_k1_are_clustered_with_a_warning(crops):
    _, cameras, people = crops
    local = np.where(cameras == 0, people, people + 8).astype(np.int32)
    labelling = replace(GLOBAL, k1=100, link_k=100, nodes="all")
    with pytest.warns(UserWarning, match="the training set has 48 images, too few for k1 = 100; 47 is used"):
        found = global_labels(separated(people, spread=0.01), local, cameras, labelling=labelling, seed=0)
    assert len(found.labels) == 48 and found.labels.max() >= 0


@pytest.mark.parametrize("sharing", ["per_camera", "shared"])
def test_training_inside_cameras_keeps_labels_inside_cameras(crops, sharing):
    images, cameras, people = crops
    local = np.where(cameras == 0, people, people + 8).astype(np.int32)
    model = new_embedder(small(), seed=0)
    trained = train_inside(model, images, cameras, local, inside(sharing=sharing))
    assert len(trained.models) == (1 if sharing == "shared" else 2)
    for label in range(trained.labels.max() + 1):
        assert len(set(cameras[trained.labels == label])) == 1
    assert set(trained.epochs["row"]) == set(range(48))
    assert {"epoch", "loss", "silhouette", "clusters", "outlier_share"} <= set(trained.curves.columns)
    assert all(np.isfinite(value) for value in trained.summary().values())


def test_the_kept_labels_are_those_of_the_best_silhouette(crops):
    images, cameras, people = crops
    local = np.where(cameras == 0, people, people + 8).astype(np.int32)
    for keep in ("best_silhouette", "last"):
        trained = train_shared(new_embedder(small(), seed=0), images, cameras, local, inside(keep=keep, epochs=3))
        best = 2 if keep == "last" else int(trained.curves["silhouette"].argmax())
        expected = trained.epochs.loc[trained.epochs["epoch"] == best, "label"].to_numpy()
        np.testing.assert_array_equal(trained.labels, expected)


def test_a_camera_with_one_image_keeps_the_starting_network(crops):
    images, cameras, people = crops
    cameras = cameras.copy()
    cameras[-1] = 2
    local = np.where(cameras == 0, people, people + 8).astype(np.int32)
    local[-1] = -1
    start = new_embedder(small(), seed=0)
    trained = train_inside(start, images, cameras, local, inside(sharing="per_camera"))
    assert len(trained.models) == 3 and trained.labels[-1] == -1
    last = trained.models[2].state_dict()
    assert all(torch.equal(value, last[name]) for name, value in start.state_dict().items())
