"""Camera proxies against the papers' formulas, sample by sample."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from reidlib.losses.camera_proxies import CameraProxies, association_loss
from tests.training.oracles import move_one_by_one, unit


def pulled(scores: list[Tensor], positives: list[int], negatives: list[int]) -> Tensor:
    """Return -mean over positives of log(exp s_p / (sum over positives and negatives of exp s)), s over .07."""
    every = torch.stack([scores[number] / 0.07 for number in positives + negatives]).exp().sum()
    return -sum((scores[number] / 0.07).exp().div(every).log() for number in positives) / len(positives)


def naive_loss(memory: CameraProxies, features: Tensor, labels, cameras, *, hardest: int, across: bool) -> Tensor:
    vectors = memory.centres.double()
    proxies = list(zip(memory.clusters.tolist(), memory.cameras.tolist(), strict=True))
    total = 0
    for feature, label, camera in zip(features, labels.tolist(), cameras.tolist(), strict=True):
        scores = [functional.normalize(feature, dim=0) @ vector for vector in vectors]
        own = proxies.index((label, camera))
        if not (memory.online and across):
            neighbours = [n for n, (_, other) in enumerate(proxies) if other == camera and n != own]
            total += pulled(scores, [own], neighbours)
        if not across:
            continue
        positives = [n for n, (of, on) in enumerate(proxies) if of == label and (memory.online or on != camera)]
        others = [n for n, (of, _) in enumerate(proxies) if of != label]
        others = sorted(others, key=lambda n: -scores[n].item())[:hardest]
        if positives:
            total += memory.cross_weight * pulled(scores, positives, others)
        if memory.online:
            near = [0.15 * scores[n].item() + 0.85 * float(vectors[own] @ vectors[n]) for n in range(len(proxies))]
            best = [
                max((n for n, (_, on) in enumerate(proxies) if on == at), key=near.__getitem__)
                for at in {on for _, on in proxies}
            ]
            positives = sorted(best, key=near.__getitem__)[-3:]
            others = sorted(set(range(len(proxies))) - set(positives), key=lambda n: -near[n])[:hardest]
            total += memory.cross_weight * pulled(scores, positives, others)
    return total / len(features)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    clusters=st.integers(1, 7),
    cameras=st.integers(1, 5),
    batch=st.integers(1, 10),
    hardest=st.sampled_from([1, 3, 50]),
    epoch=st.sampled_from([4, 5]),
    online=st.booleans(),
)
def test_loss_gradient_and_update_are_those_of_the_formulas(
    make_start, make_batch, seed, clusters, cameras, batch, hardest, epoch, online
):
    draw = np.random.default_rng(seed)
    labels = np.r_[range(clusters), draw.integers(-1, clusters, 20)]
    where = draw.integers(0, cameras, len(labels)) * 3 + 1  # cameras need not be numbered without gaps
    memory = CameraProxies(hardest=hardest, online=online)
    memory.begin(make_start(unit(len(labels), 16, seed), labels, where))
    rows = draw.choice(np.flatnonzero(labels >= 0), batch)
    features = unit(batch, 16, seed + 1).requires_grad_()
    given = make_batch(features, labels[rows], where[rows], rows=rows, epoch=epoch)
    loss = memory(given)
    exact = features.detach().double().requires_grad_()
    expected = naive_loss(memory, exact, labels[rows], where[rows], hardest=hardest, across=epoch >= 5)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=1e-5)
    wanted, found = torch.autograd.grad(expected, exact)[0], torch.autograd.grad(loss, features)[0]
    torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-3)
    moved = {pair: memory.centres[n].clone() for n, pair in enumerate(_pairs(memory))}
    places = zip(labels[rows].tolist(), where[rows].tolist(), strict=True)
    move_one_by_one(moved, given.first.embeddings.detach(), places, 0.2)
    memory.update(given)
    assert torch.equal(memory.centres, torch.stack([moved[pair] for pair in _pairs(memory)]))


def _pairs(memory: CameraProxies) -> list[tuple[int, int]]:
    return list(zip(memory.clusters.tolist(), memory.cameras.tolist(), strict=True))


def test_an_epoch_begins_with_the_means_of_clusters_on_cameras(make_start):
    embeddings, labels, cameras = unit(8, 4, 0), np.array([0, 0, 0, 1, 1, -1, 1, 0]), np.array([7, 2, 7, 2, 2, 2, 9, 2])
    memory = CameraProxies()
    memory.begin(make_start(embeddings, labels, cameras))
    assert _pairs(memory) == [(0, 2), (0, 7), (1, 2), (1, 9)]
    assert memory.known_cameras.tolist() == [2, 7, 9]
    means = [embeddings[(labels == of) & (cameras == on)].mean(0) for of, on in _pairs(memory)]
    torch.testing.assert_close(memory.centres, functional.normalize(torch.stack(means)))


def test_local_clusters_have_the_intra_part_only(make_start, make_batch):
    labels, cameras = np.array([0, 1, 2, 3, 3]), np.array([0, 0, 1, 1, 1])
    memory, batch = CameraProxies(cross_from_epoch=0), make_batch(unit(2, 8, 1), [1, 2], [0, 1])
    memory.begin(make_start(unit(5, 8, 0), labels, cameras, local=True))
    intra = [(0, [0, 1], 1), (1, [2, 3], 0)]  # sample, proxies of its camera, which of them is its own
    losses = [
        functional.cross_entropy(batch.first.embeddings[i] @ memory.centres[found].T / 0.07, torch.tensor(own))
        for i, found, own in intra
    ]
    torch.testing.assert_close(memory(batch), sum(losses) / 2)


def test_one_cluster_on_one_camera_costs_nothing_and_has_a_gradient(make_start, make_batch):
    for online in (False, True):
        memory = CameraProxies(cross_from_epoch=0, online=online)
        memory.begin(make_start(unit(3, 8, 0), [0, 0, 0]))
        features = unit(2, 8, 1).requires_grad_()
        loss = memory(make_batch(features, [0, 0]))
        loss.backward()
        assert loss.item() == 0
        assert not features.grad.any()


def test_negatives_are_the_nearest_that_may_be_and_no_others_take_part():
    scores, positive = torch.tensor([[0.9, 0.4, 0.3, 0.2, 0.1]]), torch.tensor([[False, True, False, False, False]])
    nearness = torch.tensor([[-torch.inf, -torch.inf, 0.1, 0.7, 0.5]])
    for hardest, part in ((1, [1, 3]), (2, [1, 3, 4]), (3, [1, 2, 3, 4]), (4, [1, 2, 3, 4]), (50, [1, 2, 3, 4])):
        loss = association_loss(scores, positive, nearness, hardest=hardest, temperature=0.5)
        expected = -np.log(np.exp(0.4 / 0.5) / sum(np.exp(scores[0, number].item() / 0.5) for number in part))
        assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_association_loss_has_the_gradient_of_its_differences():
    draw = torch.Generator().manual_seed(0)
    scores = torch.rand(5, 9, dtype=torch.float64, generator=draw).requires_grad_()
    positive = torch.rand(5, 9, generator=draw) < 0.3
    positive[:, 0] = True
    nearness = torch.rand(5, 9, dtype=torch.float64, generator=draw).masked_fill(positive, -torch.inf)
    assert torch.autograd.gradcheck(
        lambda given: association_loss(given, positive, nearness, hardest=3, temperature=0.5), scores
    )


def test_scores_stay_in_float32_and_proxies_outside_autograd(make_start, make_batch):
    memory, features = CameraProxies(cross_from_epoch=0), unit(4, 8, 1).requires_grad_()
    memory.begin(make_start(unit(4, 8, 0), [0, 0, 1, 1], [0, 1, 0, 1]))
    batch = make_batch(features, [0, 0, 1, 1], [0, 1, 0, 1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert memory.scores(features.bfloat16()).dtype == torch.float32
        assert memory(batch).dtype == torch.float32
    memory.update(batch)
    assert not memory.centres.requires_grad
    torch.testing.assert_close(memory.centres.norm(dim=1), torch.ones(4))


def test_state_is_restored_exactly(make_start, make_batch):
    memory, other = (CameraProxies(cross_from_epoch=0, online=True) for _ in range(2))
    memory.begin(make_start(unit(6, 8, 0), [0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 4]))
    other.begin(make_start(unit(6, 8, 9), [0, 0, 1, 1, 2, 2], [2, 3, 2, 3, 2, 8]))
    batch = make_batch(unit(3, 8, 2), [0, 2, 2], [1, 4, 0])
    memory.update(batch)
    other.load_state_dict(memory.state_dict())
    assert other(batch) == memory(batch)


def test_an_epoch_of_outliers_is_refused(make_start):
    with pytest.raises(ValueError, match="at least one cluster"):
        CameraProxies().begin(make_start(unit(3, 8, 0), [-1, -1, -1]))
