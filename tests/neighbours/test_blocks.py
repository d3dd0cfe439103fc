"""Blocks of rows: every row once, results in order, on kept threads that a forked process does without."""

import multiprocessing
import os
import subprocess
import sys
import threading

import pytest

from reidlib.neighbours.blocks import end_threads, row_blocks, run_blocks


@pytest.mark.parametrize(("rows", "size"), [(0, 5), (1, 5), (10, 5), (11, 5), (1000, None)])
def test_blocks_hold_every_row_once(rows, size):
    found = [row for start, stop in row_blocks(rows, size=size) for row in range(start, stop)]
    assert found == list(range(rows))


def test_results_come_in_order_and_errors_come_through():
    assert list(run_blocks(lambda start, stop: (start, stop), row_blocks(30, size=7))) == row_blocks(30, size=7)
    with pytest.raises(ZeroDivisionError):
        list(run_blocks(lambda start, stop: start // (start - 7), row_blocks(30, size=7)))


def test_threads_are_kept():
    names = {tuple(run_blocks(lambda *_: threading.current_thread().name, row_blocks(9, size=9))) for _ in range(3)}
    assert names == {("MainThread",)}
    for _ in range(3):
        list(run_blocks(lambda *_: None, row_blocks(30, size=1)))
    before = threading.active_count()
    list(run_blocks(lambda *_: None, row_blocks(30, size=1)))
    assert threading.active_count() == before


def test_threads_end_when_asked_and_start_again():
    for _ in range(2):
        assert total(30) == 30
        started = threading.active_count()
        end_threads()
        assert threading.active_count() < started


def test_torch_keeps_the_threads_that_openmp_was_given():
    code = """
import numpy as np, torch
from reidlib.neighbours.blocks import each_block
from reidlib.neighbours.search import nearest
from reidlib.neighbours.jaccard import jaccard_distance
rows = np.eye(300, dtype=np.float32)
nearest(rows, k=3), jaccard_distance(rows, k1=4, k2=2), each_block(lambda *_: None, 300)
print(torch.get_num_threads())
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def total(rows):
    return sum(run_blocks(lambda start, stop: stop - start, row_blocks(rows, size=4)))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 warns of forks beside threads
def test_a_forked_process_starts_its_own():
    assert total(30) == 30
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(total, (50,)).get(timeout=600) == 50
