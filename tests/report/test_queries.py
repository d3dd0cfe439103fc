"""Which queries are looked at, and which pairs of pictures."""

from dataclasses import replace

import numpy as np
import pytest

from reidlib.report.findings import find
from reidlib.report.queries import best_middle_worst, telling_queries
from tests.made_up_run import made_up_run


def average_precision(run, row):
    """By the definition, its own camera's pictures of it left out."""
    ids, cameras = run.identities, {name: split.cameras for name, split in run.splits.items()}
    scores = run.embeddings["gallery"] @ run.embeddings["query"][row]
    found, right, precisions = 0, 0, []
    for other in np.argsort(-scores, kind="stable"):
        same = ids["gallery"][other] == ids["query"][row]
        if same and cameras["gallery"][other] == cameras["query"][row]:
            continue
        found += 1
        right += int(same)
        precisions += [right / found] if same else []
    return np.mean(precisions) if precisions else np.nan


def test_queries_from_the_best_to_the_worst():
    run = made_up_run(known=True)
    noisy = run.embeddings["query"] + 0.5 * np.random.default_rng(1).normal(size=(16, 12))
    noisy = (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)
    run = replace(run, embeddings={**run.embeddings, "query": noisy})
    scores = [average_precision(run, row) for row in range(16)]
    queries = telling_queries(run)
    assert [query.split for query in queries] == ["query"] * len(queries)
    for query in queries:
        assert query.score == pytest.approx(scores[query.row])
    best, worst = ([query.score for query in queries if query.kind == kind] for kind in ("best", "worst"))
    assert max(best) == max(scores) and min(worst) == min(scores) < max(scores)
    pairs = find(run).pairs(run)
    assert pairs[0].one == ("query", queries[0].row) and pairs[0].other == ("gallery", queries[0].ranked[0])


def test_without_identities_training_images_by_their_nearest_elsewhere():
    run = made_up_run(known=False)
    cameras, rows = run.splits["train"].cameras, run.embeddings["train"]
    scores = []
    for row in range(48):
        other = max(np.flatnonzero(cameras != cameras[row]), key=lambda other: rows[row] @ rows[other])
        scores.append(float(run.calibration.probability(float(rows[row] @ rows[other]), (0, 1))))
    queries = telling_queries(run)
    assert {query.split for query in queries} == {"train"} and len(queries) == 12
    for query in queries:
        assert query.score == pytest.approx(scores[query.row], abs=1e-5)
    assert queries[0].score == pytest.approx(max(scores), abs=1e-5)
    pairs = find(run).pairs(run)
    assert len(pairs) == 4 and all(split == "train" for pair in pairs for split, _ in (pair.one, pair.other))


@pytest.mark.parametrize("n", range(8))
def test_few_queries_are_told_once(n):
    chosen = best_middle_worst(np.random.default_rng(n).random(n))
    rows = [row for kind in chosen.values() for row in kind]
    assert len(rows) == len(set(rows)) and (n == 0 or rows)
