"""Batches are the same wherever the split lives, in order, and a failing or forgotten thread does no harm."""

import threading
from itertools import count

import numpy as np
import pytest
import torch

from reidlib.batches.augment import Augmentation, augment
from reidlib.batches.residence import batches, place, prefetch, residence

CPU = torch.device("cpu")


@pytest.fixture
def split(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (50, 12, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "train.npy", images)
    return np.load(tmp_path / "train.npy", mmap_mode="r")


def some_rows(batch: int = 7, of: int = 9) -> list[np.ndarray]:
    return [np.random.default_rng(i).integers(0, 50, batch if i else 1) for i in range(of)]


@pytest.mark.parametrize("where", ["device", "memory", "file"])
@pytest.mark.parametrize("ahead", [False, True])
def test_batches_are_the_same_wherever_the_split_lives(split, where, ahead):
    held = place(split, where, device=CPU)
    if ahead and where == "device":
        held = held.numpy()
    made = prefetch(held, iter(some_rows()), device=CPU) if ahead else batches(held, iter(some_rows()), device=CPU)
    for i, (rows, (images, in_them)) in enumerate(zip(some_rows(), made, strict=True)):
        found = images[torch.from_numpy(in_them)] if isinstance(images, torch.Tensor) else images[in_them]
        assert np.array_equal(np.asarray(found), np.asarray(split)[rows])
        batch = augment(images, np.random.default_rng(i), settings=Augmentation(pad=2), rows=in_them)
        expected = augment(split, np.random.default_rng(i), settings=Augmentation(pad=2), rows=rows)
        torch.testing.assert_close(batch, expected)


def test_where_a_split_is_to_live(split, monkeypatch):
    gpu = torch.device("cuda")
    gib = split.nbytes / 2**30
    assert residence(split, device=CPU, memory_gib=1e9) == "file"
    assert residence(split, device=gpu, memory_gib=gib) == "device"
    assert residence(split, device=gpu, memory_gib=0.99 * gib) == "memory"
    monkeypatch.setattr("os.sysconf", {"SC_AVPHYS_PAGES": split.nbytes, "SC_PAGE_SIZE": 1}.get)
    assert residence(split, device=gpu, memory_gib=0.0) == "file"


@pytest.mark.parametrize("wrong", [[50], [-1]])
def test_rows_outside_the_split_are_refused_where_their_batch_is_due(split, wrong):
    made = prefetch(split, [*some_rows(of=3), np.array(wrong)], device=CPU)
    for _ in range(3):
        next(made)
    with pytest.raises(ValueError, match=r"rows 0\.\.49"):
        next(made)


def test_an_error_of_the_rows_reaches_the_consumer(split):
    def rows():
        yield from some_rows(of=4)
        raise RuntimeError("no more clusters")

    with pytest.raises(RuntimeError, match="no more clusters"):
        list(prefetch(split, rows(), device=CPU))


def test_stopping_early_ends_the_thread_and_reads_little_ahead(split):
    before = threading.active_count()
    taken = count()
    made = prefetch(split, (np.array([next(taken)]) for _ in range(40)), device=CPU)
    next(made)
    assert threading.active_count() == before + 1
    made.close()
    assert threading.active_count() == before
    assert next(taken) == 3  # the batch that was used and two ahead


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("where", ["device", "memory", "file"])
def test_batches_on_a_gpu(split, where):
    gpu = torch.device("cuda")
    held = place(split, where, device=gpu)
    for rows, (images, in_them) in zip(some_rows(of=30), batches(held, some_rows(of=30), device=gpu), strict=True):
        assert np.array_equal(images[torch.from_numpy(in_them).cuda()].cpu().numpy(), split[rows])
