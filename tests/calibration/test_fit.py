"""Calibration without identities on made embeddings whose truth is known, against what is true of them."""

import numpy as np
import pytest

from reidlib.calibration.calibration import camera_pair
from reidlib.calibration.fit import align, calibrate, expected_matches, fit_slope
from reidlib.calibration.pairs import Pictures, cosines_of_clusters, cosines_of_strangers, cosines_within

SETTINGS = {"seed": 0, "images": 3000, "pairs": 5000, "prior": None}


def crowd(generator, *, people, images, cameras=2, noise=0.8, dimension=24, labelled=False, common=0.4):
    """Pictures of people, each a few times on every camera, and who is in them.

    All share a direction, as the embeddings of a trained network do, each camera has one of its own, and looks vary.
    """
    centres = generator.normal(size=(people, dimension)) * generator.uniform(0.6, 1.4, (people, 1))
    owners = np.repeat(np.arange(people), images * cameras)
    where = np.tile(np.repeat(np.arange(cameras), images), people)
    shared = common * dimension**0.5 * np.eye(dimension)[0] + 0.3 * np.eye(dimension)[1 + where]
    rows = centres[owners] + shared + noise * generator.normal(size=(len(owners), dimension))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels = owners.astype(np.int32) if labelled else None
    return Pictures(rows.astype(np.float32), where.astype(np.int16), labels), owners


def truth(pictures, owners):
    """Cosines across cameras, and whether they are of one person: a loop over pairs of cameras."""
    cosines, same = [], []
    for one in np.unique(pictures.cameras):
        for other in np.unique(pictures.cameras):
            if one < other:
                left, right = pictures.cameras == one, pictures.cameras == other
                cosines.append((pictures.embeddings[left] @ pictures.embeddings[right].T).ravel())
                same.append((owners[left][:, None] == owners[right]).ravel())
    return np.concatenate(cosines), np.concatenate(same)


def calibration_error(probabilities, same):
    error = 0.0
    for part in range(15):
        chosen = (probabilities >= part / 15) & (probabilities < (part + 1) / 15)
        if chosen.any():
            error += chosen.mean() * abs(probabilities[chosen].mean() - same[chosen].mean())
    return error


@pytest.mark.parametrize("noise", [0.4, 1.0, 2.0])  # from people apart to people one cannot tell
@pytest.mark.parametrize("cameras", [2, 3])
def test_what_it_says_is_so(noise, cameras):
    generator = np.random.default_rng(3)
    trained, _ = crowd(generator, people=60, images=4, cameras=cameras, noise=noise, labelled=True)
    pictures, owners = crowd(generator, people=40, images=4, cameras=cameras, noise=noise)
    found = calibrate(pictures, trained, **SETTINGS)
    cosines, same = truth(pictures, owners)
    assert found.source == "strangers" and found.prior == pytest.approx(same.mean(), rel=0.01)
    for rate in (0.1, 0.01):
        measured = (cosines[~same] >= found.threshold(false_match_rate=rate)).mean()
        assert rate / 2 <= measured <= rate * 2
    probabilities = found.probability(cosines)
    assert calibration_error(probabilities, same) <= 0.02
    assert (np.diff(found.probability(np.sort(cosines))) >= 0).all()
    if noise == 0.4:  # certain where it can be
        assert probabilities[same].mean() > 0.8 and probabilities[~same].mean() < 0.01
    if cameras == 3:
        assert set(found.cameras) == {camera_pair(a, b) for a, b in ((0, 1), (0, 2), (1, 2))}


def test_where_training_shows_the_same_people_there_are_fewer_false_matches_never_more():
    generator = np.random.default_rng(4)
    both, owners = crowd(generator, people=50, images=8, noise=0.8, labelled=True)
    first = np.arange(len(owners)) % 2 == 0
    trained = Pictures(both.embeddings[first], both.cameras[first], both.labels[first])
    pictures = Pictures(both.embeddings[~first], both.cameras[~first])
    cosines, same = truth(pictures, owners[~first])
    found = calibrate(pictures, trained, **SETTINGS)
    assert (cosines[~same] >= found.threshold(false_match_rate=0.01)).mean() <= 0.011
    assert calibration_error(found.probability(cosines), same) <= 0.03


def test_without_queries_and_gallery_the_clusters_tell_who_are_strangers():
    generator = np.random.default_rng(5)
    trained, owners = crowd(generator, people=60, images=4, labelled=True)
    nobody = Pictures(trained.embeddings[:0], trained.cameras[:0])
    found = calibrate(nobody, trained, **SETTINGS)
    cosines, same = truth(trained, owners)
    assert found.source == "clusters"
    assert (cosines[~same] >= found.threshold(false_match_rate=0.01)).mean() == pytest.approx(0.01, rel=0.25)


def test_two_runs_are_equal_a_sample_is_drawn_and_a_prior_may_be_given():
    generator = np.random.default_rng(6)
    trained, _ = crowd(generator, people=60, images=4, labelled=True)
    pictures, _ = crowd(generator, people=40, images=4)
    settings = SETTINGS | {"images": 200}
    found = calibrate(pictures, trained, **settings)
    assert found == calibrate(pictures, trained, **settings) != calibrate(pictures, trained, **settings | {"seed": 1})
    assert found.pooled.pairs < 200 * 200 / 2
    assert calibrate(pictures, trained, **settings | {"prior": 0.2}).prior == 0.2


def test_one_camera_is_compared_with_itself():
    generator = np.random.default_rng(7)
    trained, _ = crowd(generator, people=60, images=4, cameras=1, labelled=True)
    pictures, _ = crowd(generator, people=40, images=4, cameras=1)
    found = calibrate(pictures, trained, **SETTINGS)
    assert found.pooled.pairs == 160 * 159 // 2 and not found.cameras


def test_too_few_pictures_are_refused():
    few, _ = crowd(np.random.default_rng(8), people=2, images=1, labelled=True)
    with pytest.raises(ValueError, match="expected at least 20 pairs of pictures across cameras"):
        calibrate(few, few, **SETTINGS)


def test_pairs_are_those_of_a_loop():
    generator = np.random.default_rng(9)
    pictures, _ = crowd(generator, people=4, images=2, cameras=3)
    trained, _ = crowd(generator, people=3, images=2, cameras=3, labelled=True)
    trained.labels[[0, 5]] = -1
    expected = {"within": {}, "strangers": {}, "clusters": {}}
    for one, other in ((0, 1), (0, 2), (1, 2)):
        lists = {name: [] for name in expected}
        for i, a in enumerate(pictures.cameras):
            for j, b in enumerate(pictures.cameras):
                if (a, b) == (one, other):
                    lists["within"].append(pictures.embeddings[i] @ pictures.embeddings[j])
            for j, b in enumerate(trained.cameras):
                if {a, b} == {one, other}:
                    lists["strangers"].append(pictures.embeddings[i] @ trained.embeddings[j])
        for i, a in enumerate(trained.cameras):
            for j, b in enumerate(trained.cameras):
                alike = trained.labels[i] == trained.labels[j] and trained.labels[i] >= 0
                if (a, b) == (one, other) and not alike:
                    lists["clusters"].append(trained.embeddings[i] @ trained.embeddings[j])
        for name, values in lists.items():
            expected[name][camera_pair(one, other)] = values
    found = {
        "within": dict(cosines_within(pictures)),
        "strangers": dict(cosines_of_strangers(pictures, trained)),
        "clusters": dict(cosines_of_clusters(trained)),
    }
    for name, pairs in expected.items():
        assert found[name].keys() == pairs.keys()
        for key, values in pairs.items():
            np.testing.assert_allclose(np.sort(found[name][key]), np.sort(values), atol=1e-6)


def test_the_prior_is_the_size_of_clusters_and_alignment_that_of_quartiles():
    labels = np.array([0, 0, 0, 1, -1, -1], np.int32)
    trained = Pictures(np.zeros((6, 2), np.float32), np.zeros(6, np.int16), labels)
    assert expected_matches(trained, pictures=100) == pytest.approx(2 / 100)
    assert expected_matches(trained, pictures=1) == 0.5
    values, to = np.random.default_rng(0).normal(size=400), np.random.default_rng(1).normal(3, 2, 500)
    moved = align(values, to=to)
    assert np.median(moved) == pytest.approx(np.median(to))
    assert np.subtract(*np.quantile(moved, [0.75, 0.25])) == pytest.approx(np.subtract(*np.quantile(to, [0.75, 0.25])))
    assert align(np.ones(4), to=to) == pytest.approx(np.full(4, np.median(to)))


def test_the_slope_of_a_known_mixture_is_found_and_none_where_nothing_stands_out():
    generator = np.random.default_rng(10)
    strangers = generator.normal(0, 0.1, 400_000)
    same = generator.normal(0.2, 0.1, 8_000)  # log odds: 0.2 / 0.1² × cosine + log prior - 2
    pairs = np.concatenate([strangers[:392_000], same])
    slope, offset = fit_slope(pairs, strangers, prior=0.02)
    assert slope == pytest.approx(20, abs=1)
    assert offset == pytest.approx(np.log(0.02 / 0.98) - 2, abs=0.3)
    assert fit_slope(strangers[:200_000], strangers[200_000:] * 1.1, prior=0.02)[0] == 0
