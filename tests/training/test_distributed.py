"""Two processes that share each batch against one process that has it whole, by gloo on this machine's processors."""

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from reidlib.training.distributed import ALONE, World, connect

ROOT = Path(__file__).parents[2]
# batch of 16: two groups to a process, one, one across both, the whole batch; batches of one camera; several terms; a
# term that does not look at the neck, on each camera's group, with styles exchanged
# (The weight decay keeps Adam from making whole steps of the rounding of gradients that are nearly 0.)
CASES = [(4, "across"), (8, "across"), (16, "across"), (64, "across"), (8, "within"), (16, "several"), (64, "inside")]

BEGIN = """
import pickle, sys
from dataclasses import replace
import numpy as np
import torch
from reidlib.labels.global_labelling import GlobalLabelling
from reidlib.labels.icsr import GlobalLabeller
from reidlib.labels.pseudo_labels import PseudoLabels
from reidlib.models.embedder import new_embedder
from reidlib.training import loop
from reidlib.training.distributed import connect
from reidlib.training.plan import Phase
from tests.training.plans import settings_of, small
torch.set_num_threads(1)
"""

TRAIN = (
    BEGIN
    + """
generator = np.random.default_rng(0)
colours = generator.integers(30, 226, (8, 1, 1, 3))
noise = generator.integers(-30, 31, (8, 6, 32, 16, 3))
images = (colours[:, None] + noise).clip(0, 255).astype(np.uint8).reshape(48, 32, 16, 3)
cameras, people = np.tile(np.int16([0, 0, 0, 1, 1, 1]), 8), np.repeat(np.int32(range(8)), 6)
local = np.where(cameras == 0, people, people + 8).astype(np.int32)
labelling = GlobalLabelling(k1=6, k2=2, method={"name": "linkage", "images_per_cluster": 6.0}, link_k=4, nodes="all",
    camera_alignment="centre", colour_weight=0.0, camera_aware=None, original_weight=0.0, camera_similarity=0.0,
    link_min_similarity=0.1)
memories, end_epoch = [], loop.State.end_epoch
def noted(state, *rest):
    term = next(iter(state.loss.terms.values()))
    memories.append(getattr(term, "centres", term.cameras).numpy().copy())
    return end_epoch(state, *rest)
loop.State.end_epoch = noted

def train(group, kind, world):
    norm = {"camera_norm_after": "layer1", "camera_norm_by": "batch", "cameras": 2} if kind == "inside" else {}
    model = new_embedder(small(batch_norm_group=group, **norm), seed=0)
    own = {"batch_norm_group": 8} if kind == "inside" else {}
    settings = settings_of(learning_rate=5e-5, weight_decay=1e-2, clip_norm=1.0, **own)
    label = GlobalLabeller(first=people, local=local, cameras=cameras, labelling=labelling, seed=0, epochs=1000000)
    if kind in ("within", "inside"):
        label = lambda *_: PseudoLabels(local, {"clusters": 16.0})
    memories.clear()
    loss = {"cluster_memory": {}}
    if kind == "several":
        settings = replace(settings, accumulate=2, ema=0.5, frozen={"backbone.layer1": 1}, decay_norms=False)
        loss |= {"triplet": {"distillation": 1.0}, "classifier": {}, "instance": {}, "camera_adversary": {}}
    if kind == "inside":
        loss = {"camera_classifiers": {}}
    sampling = {"within": "camera", "inside": "shuffled"}.get(kind, "mixed")
    phase = Phase(label=label, loss=loss, sampling=sampling, clusters_per_batch=2 if kind == "inside" else 4,
        images_per_cluster=4, local=kind in ("within", "inside"))
    history = loop.train(model, images, cameras, phases=[phase], settings=settings, world=world)
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    return history.curves, history.labels, list(memories), state

with connect() as world:
    found = tuple(world.search(np.eye(7, 9, dtype=np.float32), k=3))
    results = {case: train(*case, world) for case in CASES}
    with open(f"{OUT}.{world.rank}", "wb") as file:
        pickle.dump((found, results), file)
"""
)


def launched(folder, program, *, processes, **names):
    values = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    (folder / "program.py").write_text(values + program)
    several = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *(several if processes > 1 else []), str(folder / "program.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200)


def trained(folder, *, processes):
    out = str(folder / f"out_{processes}")
    done = launched(folder, TRAIN, processes=processes, CASES=CASES, OUT=out)
    assert done.returncode == 0, done.stderr[-3000:]
    return [pickle.loads(Path(f"{out}.{rank}").read_bytes()) for rank in range(processes)]


@pytest.mark.slow
def test_two_processes_agree_with_one(tmp_path):
    ((found, alone),) = trained(tmp_path, processes=1)
    both = trained(tmp_path, processes=2)
    for neighbours, _ in both:
        for mine, its in zip(found, neighbours, strict=True):
            np.testing.assert_array_equal(mine, its)
    for case in CASES:
        curves, labels, memories, state = alone[case]
        for _, results in both:
            for mine, its in zip(curves, results[case][0], strict=True):
                assert mine.keys() == its.keys()
                np.testing.assert_allclose(list(its.values()), list(mine.values()), atol=1e-5, err_msg=str(case))
            np.testing.assert_array_equal(np.stack(results[case][1]), np.stack(labels))
            for mine, its in zip(memories, results[case][2], strict=True):
                np.testing.assert_allclose(its, mine, atol=1e-5, err_msg=str(case))
            if case[1] == "inside":  # no gradient, so no weight decay either
                assert (state["neck.weight"] == 1).all() and (results[case][3]["neck.weight"] == 1).all()
            for name, value in state.items():
                np.testing.assert_allclose(
                    results[case][3][name], value, atol=2e-5, rtol=1e-4, err_msg=f"{case} {name}"
                )
        for mine, its in zip(both[0][1][case][3].values(), both[1][1][case][3].values(), strict=True):
            np.testing.assert_array_equal(mine, its)  # the processes hold the same model, to the bit


@pytest.mark.slow
def test_a_rank_that_dies_or_fails_ends_the_run_with_its_reason(tmp_path):
    dies = BEGIN + "with connect() as world:\n    assert world.first, 'rank 1 broke'\n    world.any_of(False)\n"
    began = time.monotonic()
    done = launched(tmp_path, dies, processes=2)
    assert done.returncode != 0 and "rank 1 broke" in done.stderr and time.monotonic() - began < 600
    fails = BEGIN + (  # each writes its line at once: the pipe is one
        "def label(): raise ValueError('no cluster')\n"
        "with connect() as world:\n"
        "    try:\n        world.on_first(label)\n"
        "    except ValueError as error:\n        print(f'rank {world.rank}: {error}\\n', end='')\n"
    )
    done = launched(tmp_path, fails, processes=2)
    assert done.returncode == 0, done.stderr[-2000:]
    assert {"rank 0: no cluster", "rank 1: no cluster"} <= set(done.stdout.splitlines())


def test_shares_are_consecutive_and_even():
    for size in (1, 2, 3, 5):
        worlds = [World(rank, size, ALONE.device) for rank in range(size)]
        for count in (0, 1, 4, 17):
            shares = [list(world.share(count)) for world in worlds]
            assert [row for share in shares for row in share] == list(range(count))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
    with pytest.raises(ValueError, match="multiple of REID_NPROC"):
        World(0, 3, ALONE.device).equal_share(8)
    assert World(1, 2, ALONE.device).equal_share(8) == slice(4, 8)


def test_one_process_is_a_world_of_its_own(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with connect() as world:
        assert world.first and world.size == 1
        assert world.on_first(lambda: 3) == 3 and world.any_of(True) and not world.any_of(False)
