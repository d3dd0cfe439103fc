"""Centre loss against the paper's rule, sample by sample."""

import pytest
import torch

from reidlib.losses.centre import Centre
from reidlib.models.embedder import Features


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def begun(make_start, **settings):
    term = Centre(**settings)
    term.begin(make_start(random(6, 6), [0, 0, 1, 1, 2, -1]))
    return term


def test_follows_the_papers_rule(make_start, make_batch):
    term = begun(make_start, step=0.4)
    centres = {}
    for seed, labels in enumerate([[0, 1, 0, 0], [1, 2, 1, 0], [2, 2, 1, 1]]):
        pooled = random(4, 2, 3, seed=seed)
        batch, loss = make_batch(Features(pooled, pooled * 0), labels), 0.0
        flat = pooled.double().flatten(1)
        for row, label in zip(flat, labels, strict=True):
            if label in centres:
                loss += float(((row - centres[label]) ** 2).sum()) / 2 / 4 / 2
        assert term(batch).item() == pytest.approx(loss, rel=1e-5)
        term.update(batch)
        for label in set(labels):
            rows = [row for row, k in zip(flat, labels, strict=True) if k == label]
            if label in centres:
                delta = sum(centres[label] - row for row in rows) / (1 + len(rows))
                centres[label] = centres[label] - 0.4 * delta
            else:
                centres[label] = sum(rows) / len(rows)
    torch.testing.assert_close(term.centres.double(), torch.stack([centres[k] for k in range(3)]), rtol=1e-5, atol=1e-6)


def test_clusters_never_met_cost_nothing_but_are_connected(make_start, make_batch):
    term, features = begun(make_start), random(3, 6).requires_grad_()
    loss = term(make_batch(features, [0, 1, 1]))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(features.grad, torch.zeros(3, 6))


def test_draws_features_to_centres(make_start, make_batch):
    term, features = begun(make_start), random(2, 6).requires_grad_()
    term.update(make_batch(random(2, 6, seed=1), [0, 2]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = term(make_batch(features, [0, 2]))
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(features.grad, (features.detach() - term.centres[[0, 2]]) / 2)


def test_centres_are_kept_unless_labels_changed(make_start, make_batch):
    term = begun(make_start)
    term.update(make_batch(random(2, 6), [0, 2]))
    kept = term.centres.clone()
    term.begin(make_start(random(6, 6), [0, 0, 1, 1, 2, -1], renewed=False))
    assert torch.equal(term.centres, kept)
    assert term.met.tolist() == [True, False, True]
    term.begin(make_start(random(6, 6), [0, 0, 1, 1, 2, -1]))
    assert not term.centres.any()
    assert not term.met.any()
