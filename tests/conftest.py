"""Shapes and dtypes of every signature are checked in tests (jaxtyping with beartype), but for compiled kernels."""

import pkgutil
import sys
import types

import jaxtyping
import pytest
import torch
from beartype import BeartypeConf, beartype

import reidlib

MODULES = [
    module.name
    for module in pkgutil.walk_packages(reidlib.__path__, "reidlib.")
    if not module.ispkg and not module.name.endswith("kernels")
]

checker = types.ModuleType("reidlib_typechecker")  # the hook takes the checker by its name
checker.checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int will do for a float, as for type checkers
sys.modules[checker.__name__] = checker
jaxtyping.install_import_hook(MODULES, "reidlib_typechecker.checked")


@pytest.fixture(autouse=True)
def _threads_of_torch():
    """As many as it was given: umap-learn starts numba's, which give OpenMP as many, and tests run side by side."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    """A small model, see `tests.crops`; imported here, after the hook above."""
    from tests.crops import make_model

    return make_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="session")
def model(model_file):
    from reidlib.gallery.model import load

    return load(model_file)


@pytest.fixture(scope="session")
def crops(tmp_path_factory):
    """Twenty-four crops that lie as <camera>/<person>/<frame>.png."""
    from tests.crops import make_crops

    return make_crops(tmp_path_factory.mktemp("crops") / "crops")


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium, headless, see `tests.browser`; one for all tests, each of which opens its page anew."""
    from tests.browser import resize, start_browser

    with start_browser(tmp_path_factory.mktemp("profile")) as chrome:
        resize(chrome, 1280, 900)
        yield chrome
