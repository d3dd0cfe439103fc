import numpy as np
import pytest

from reidlib.labels.local import local_labels
from reidlib.labels.methods import METHODS, check_method, parameter_to_move, radius

DBSCAN = {"name": "dbscan", "eps": 0.5, "min_samples": 4}
PACED = {"name": "self_paced", "eps": 0.5, "min_samples": 4}


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"name": "dbscann", "eps": 0.5}, r"refine\.method\.name: expected one of bottom_up, .*found 'dbscann'"),
        ({"eps": 0.5}, "found None"),
        ({"name": "dbscan", "epps": 0.5, "min_samples": 4}, r"refine\.method\.epps: Extra inputs"),
        ({"name": "dbscan", "eps": 0.5}, r"refine\.method\.min_samples: Field required"),
        (DBSCAN | {"eps": 0.0}, r"method\.eps.*greater than 0"),
        (DBSCAN | {"eps": 1.0}, r"method\.eps.*less than 1"),
        (DBSCAN | {"eps": float("nan")}, r"method\.eps"),
        (DBSCAN | {"eps": "automatic"}, r"method\.eps"),
        (DBSCAN | {"min_samples": 0}, r"method\.min_samples: .*greater than or equal to 1"),
        (DBSCAN | {"seed": 1}, r"method\.seed: Extra inputs"),
        (PACED | {"eps": 0.99}, r"refine\.method: self_paced: expected eps ± gap inside \(0, 1\)"),
        (PACED | {"independent_share": 0.0}, r"independent_share: .*greater than 0"),
        ({"name": "linkage"}, r"refine\.method: linkage: expected exactly one of n_clusters, .*found none"),
        ({"name": "linkage", "n_clusters": 3, "quantile": 0.1}, r"exactly one of .*found {'n_clusters': 3, 'quantile'"),
        ({"name": "linkage", "images_per_cluster": 0.5}, "images_per_cluster.*greater than or equal to 1"),
        ({"name": "linkage", "distance_threshold": 1.5}, "distance_threshold.*less than or equal to 1"),
        ({"name": "kmeans"}, "kmeans: expected exactly one of n_clusters, images_per_cluster; found none"),
        ({"name": "infomap", "min_similarity": 0.0}, "min_similarity: .*greater than 0"),
        ({"name": "bottom_up", "merge_share": 1.0}, "merge_share: .*less than 1"),
    ],
)
def test_wrong_settings_are_refused_before_any_work(method, message):
    with pytest.raises(ValueError, match=message):
        check_method(method, where="refine.method")


def test_defaults_are_filled_in_and_an_integer_will_do():
    assert check_method({"name": "infomap", "k1": 9}) == ("infomap", {"k1": 9, "min_similarity": 0.5, "smallest": 5})
    assert check_method({"name": "linkage", "images_per_cluster": 5})[1]["images_per_cluster"] == 5
    assert check_method(DBSCAN | {"eps": "auto"})[1]["eps"] == check_method(PACED | {"eps": "auto"})[1]["eps"] == "auto"


def test_every_method_has_a_parameter_to_move():
    given = {"linkage": {"quantile": 0.1}, "kmeans": {"n_clusters": 3}, "dbscan": {"eps": 0.5, "min_samples": 4}}
    given["self_paced"] = given["dbscan"]
    named = {name: parameter_to_move({"name": name} | given.get(name, {})) for name in METHODS}
    assert named["linkage"] == "linkage's quantile (now 0.1)"
    assert named["infomap"] == "infomap's min_similarity (now 0.5)"
    assert named["bottom_up"] == "bottom_up's start_share (now 0.5)" and named["dbscan"] == "dbscan's eps (now 0.5)"


def test_the_radius_is_what_the_method_looks_at():
    assert radius({"eps": 0.5}) == 0.5 and radius({"eps": 0.5, "gap": 0.25}) == 0.75
    assert radius({"eps": "auto"}) == radius({"quantile": 0.1}) == 1


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"name": "dbscan", "eps": 1e-5, "min_samples": 9}, "no cluster at all.*move dbscan's eps"),
        ({"name": "linkage", "n_clusters": 1}, "one cluster alone.*linkage's n_clusters \\(now 1\\)"),
        ({"name": "infomap", "min_similarity": 0.9999}, "no cluster at all.*infomap's min_similarity"),
    ],
)
def test_useless_labels_are_refused(people, labelling, method, message):
    embeddings, _, _ = people(40, per_identity=20, noise=0.3)
    name, settings = method["name"], {key: value for key, value in method.items() if key != "name"}
    with pytest.raises(ValueError, match=message):
        local_labels(embeddings, np.zeros(40, np.int16), labelling=labelling(name, settings, k1=25), seed=0)
