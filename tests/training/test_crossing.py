"""Any backbone, memory, clustering, refinement and camera trick with any other: trained, interrupted, gone on with."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from reidlib.labels.global_labelling import GlobalLabelling
from reidlib.labels.icsr import GlobalLabeller
from reidlib.losses.total import TotalLoss
from reidlib.models.architecture import Architecture
from reidlib.models.embedder import new_embedder
from reidlib.training import loop
from reidlib.training.checkpoint import Checkpoints
from reidlib.training.phases import LocalLabeller, Rounds
from reidlib.training.plan import Phase
from tests.training.plans import LOCAL, settings_of, small

BACKBONES = {  # name: stage to put something behind, poolings, and whether its batch norms can be mixed
    "resnet18_half": ("layer1", ["gem", "gem_trained", "average_max"], True),
    "resnet18_half_ibn_a": ("layer2", ["gem"], False),
    "osnet_x0_25": ("conv3", ["gem", "max"], False),
    "gam_half": ("layer2", ["average"], True),
    "lightmbn_x0_25": ("conv2", ["parts"], False),
    "timm/convnext_atto": ("stages.0.blocks", ["average", "max"], False),
}
MEMORIES = [
    {"cluster_memory": {}},
    {"cluster_memory": {"hard": True, "entropy_from_epoch": 1}},
    {"queue_memory": {"length": 3, "trainable_temperature": True}},
    {"queue_memory": {"slot_momentum": 0.0}},
    {"hybrid_memory": {}},
    {"camera_proxies": {"cross_from_epoch": 1, "hardest": 4}},
    {"camera_proxies": {"cross_from_epoch": 0, "online": True}},
]
OTHERS = [
    {},
    {"triplet": {"weight": 0.5}},
    {"classifier": {"head": "circle", "smoothing": 0.0, "distillation": 1.0}},
    {"instance": {"from_epoch": 1}},
    {"camera_adversary": {}},
    {"centre": {"weight": 0.001}, "metric_pairs": {"loss": "multi_similarity"}},
    {"teacher": {}},
]
METHODS = [
    {"name": "linkage", "images_per_cluster": 6.0},
    {"name": "dbscan", "eps": "auto", "min_samples": 2},
    {"name": "kmeans", "n_clusters": 8},
    {"name": "infomap", "k1": 5, "min_similarity": 0.1, "smallest": 2},
    {"name": "self_paced", "eps": 0.6, "min_samples": 2},
    {"name": "bottom_up", "merge_share": 0.1, "start_share": 0.6, "size_weight": 0.003},
]
CASES = range(14)
INSIDE = {"sampling": "every_camera", "clusters_per_batch": 2, "images_per_cluster": 2}
SETTINGS = settings_of(
    iterations=2, backbone_rate=0.5, warm_up=1, warm_up_from=0.5, decay_factor=0.5, cosine=True, clip_norm=10.0,
    label_flip=True, log_every=1, cosine_to=0.1, frozen={"backbone": 1}, decay_norms=False, ema=0.9,
)  # fmt: skip


class Killed(Exception):  # noqa: N818 - no error of the run
    pass


def crossing(number, crops):
    """The network, phases and cameras of a case; 14 of them hold every backbone, memory, term and clustering twice."""
    _, cameras, people = crops
    choose = random.Random(number).choice
    name = sorted(BACKBONES)[number % len(BACKBONES)]
    stage, poolings, mixes = BACKBONES[name]
    architecture = Architecture(
        backbone=name, last_stride=2, pooling=choose(poolings), gem_power=3.0, batch_norm_group=8, height_px=64,
        width_px=32, normalisation=choose(["batch", "aibn"]) if mixes else "batch",
        attention=choose([None, "cbam", "se", "non_local", "plr"]), attention_after=stage,
        camera_norm_after=choose([None, stage]), cameras=2,
    )  # fmt: skip
    loss = MEMORIES[number % len(MEMORIES)] | OTHERS[(3 * number + 1) % len(OTHERS)]
    method = METHODS[(5 * number + number // 6) % len(METHODS)]
    weights = [0.0] if method["name"] in ("kmeans", "infomap") else [0.0, 0.3]  # these make no distances
    labelling = GlobalLabelling(
        k1=6, k2=2, original_weight=choose(weights), method=method, camera_similarity=choose([0.0, 0.01]),
        camera_alignment=choose(["none", "centre", "whiten"]), colour_weight=0.0,
        camera_aware=None, nodes=choose(["none", "one", "all"]), link_k=4, link_min_similarity=0.1,
    )  # fmt: skip
    if not labelling.original_weight:
        labelling = replace(labelling, camera_aware=choose([None, {"own_k1": 3, "other_k1": 4}]))
    local = np.where(cameras == 0, people, people + 8).astype(np.int32)
    if choose([False, True]):  # without camera labels
        cameras, local = np.zeros_like(cameras), people
    rounds = choose([None, Rounds(intra_epochs=1, inter_epochs=1)])
    across = GlobalLabeller(
        first=people,
        local=local,
        cameras=cameras,
        labelling=labelling,
        seed=0,
        epochs=2,
        newest_local=rounds and rounds.newest_local,
    )
    phases = [Phase(label=across, loss=loss, sampling="mixed", clusters_per_batch=4, images_per_cluster=2, local=False)]
    if rounds:
        inside = LocalLabeller(first=local, cameras=cameras, labelling=replace(LOCAL, method=METHODS[0]), seed=0)
        own = choose([{"camera_classifiers": {}}, {"cluster_memory": {}}, {"queue_memory": {}}])
        phases.insert(0, Phase(label=inside, loss=own, local=True, **INSIDE))
    return architecture, phases, cameras


def test_the_cases_hold_every_memory_term_clustering_and_backbone(crops):
    cases = [crossing(number, crops) for number in CASES]
    assert {architecture.backbone for architecture, _, _ in cases} == set(BACKBONES)
    losses = [phases[-1].loss for _, phases, _ in cases]
    assert all(any(part.items() <= loss.items() for loss in losses) for part in [*MEMORIES, *OTHERS])
    names = {phases[-1].label.labelling.method["name"] for _, phases, _ in cases}
    assert names == {method["name"] for method in METHODS}


def trained(crops, architecture, phases, cameras, checkpoints):
    images, _, people = crops
    model = new_embedder(architecture, seed=0)
    teacher = np.eye(8, dtype=np.float32)[people]
    history = loop.train(
        model, images, cameras, phases=phases, settings=SETTINGS, checkpoints=checkpoints, teacher=teacher
    )
    return model.state_dict(), history


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:clustering. .* too few for k1")
@pytest.mark.parametrize("number", CASES)
def test_any_combination_trains_and_resumes_to_the_bit(crops, tmp_path, monkeypatch, number):
    architecture, phases, cameras = crossing(number, crops)
    step, steps = loop.step, [0]

    def dying(*arguments, **keywords):
        steps[0] += 1
        if steps[0] == 4:
            raise Killed
        step(*arguments, **keywords)

    expected, whole = trained(crops, architecture, phases, cameras, None)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(loop, "step", dying)
        trained(crops, architecture, phases, cameras, Checkpoints(tmp_path, minutes=1e-9))
    with monkeypatch.context() as patched:
        patched.setattr(loop, "step", dying)
        found, resumed = trained(crops, architecture, phases, cameras, Checkpoints(tmp_path, minutes=1e-9))
    assert steps[0] == 5, "only the last step was left"
    assert resumed.curves == whole.curves and all(np.isfinite(curve["loss"]) for curve in whole.curves)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone": "timm/convnext_atto"}, "model.pooling: expected average"),
        ({"backbone": "lightmbn_x0_25"}, "model.pooling: expected parts"),
        ({"pooling": "token"}, "model.pooling: expected"),
        ({"attention": "cbam", "attention_after": "conv3"}, "conv3"),
        ({"attention": "nothing", "attention_after": "layer1"}, "nothing"),
        ({"camera_norm_after": "layer9"}, "layer9"),
        ({"normalisation": "aibn", "backbone": "timm/convnext_atto", "pooling": "average"}, "layer3"),
        ({"patch_stride": 8}, "model.patch_stride"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(changes, words):
    with pytest.raises(ValueError, match=words):
        new_embedder(small(**{"last_stride": 2, "batch_norm_group": 8} | changes), seed=0)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ({"nothing": {}}, "loss.nothing: expected a term of the loss among .*cluster_memory"),
        ({"cluster_memory": {"momentm": 0.1}}, r"loss.cluster_memory.momentm: Extra inputs .*found: 0.1"),
        ({"queue_memory": {"length": 0}}, r"loss.queue_memory.length: .*greater than or equal to 1"),
        ({"cluster_memory": {"temperature": 0.0}}, r"loss.cluster_memory.temperature: .*greater than 0"),
        ({"instance": {"temperature": -0.1}}, r"loss.instance.temperature: .*greater than 0"),
        ({"triplet": {"weight": -1.0}}, r"loss.triplet.weight: .*greater than or equal to 0"),
        ({}, "expected at least one term"),
    ],
)
def test_a_loss_that_cannot_be_is_refused_by_name(loss, words):
    with pytest.raises(ValueError, match=words):
        TotalLoss(loss)
