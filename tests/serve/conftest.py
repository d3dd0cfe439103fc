"""Crops whose names are markup, formulas and other mischief, as a gallery and as a dataset; pages, servers of them."""

import threading
from contextlib import contextmanager
from dataclasses import replace

import pandas as pd
import pytest

from reidlib.calibration.calibration import Calibration, Curve
from reidlib.commands.compose import compose_values
from reidlib.gallery.gallery import Gallery
from reidlib.gallery.pictures import picture_files
from reidlib.labels.asking import open_asking
from reidlib.serve.asking import AskingPage
from reidlib.serve.page import SearchPage
from reidlib.serve.server import PageServer
from tests.asked import make_asked

CAMERA = "<img src=x onerror=alert(1)>, door "
NAMES = {"door": "<b>door</b>&amp;", "yard": '=HYPERLINK("http://x")', "person3": "<script>document.title='x'</script>"}


@pytest.fixture(scope="session")
def calibrated(model):
    """The model with a calibration: same people are above 0.99 here, others below 0.93."""
    curve = Curve(slope=100.0, offset=-96.0, false_match_rates=(0.001, 0.1), thresholds=(0.96, 0.96), pairs=9,
                  strangers=9)  # fmt: skip
    learnt = Calibration(prior=0.1, source="strangers", pooled=curve).to_dict()
    return replace(model, description=replace(model.description, calibration=learnt))


@pytest.fixture(scope="session")
def hostile(calibrated, crops, tmp_path_factory):
    """Rows 0 to 11 are of the door, 12 to 23 of the yard, two pictures to a person; times run backwards."""
    files = picture_files(crops)
    rows = pd.DataFrame(
        {
            "path": [f"/crops/<img src=x onerror=alert({number})>{number:02d}.png" for number in range(24)],
            "camera": [NAMES[file.parts[-3]] for file in files],
            "tracklet": [NAMES.get(file.parts[-2], file.parts[-2]) for file in files],
            "identity": ["-1", "@SUM(A1)"] * 12,
            "time": [float(100 - number) for number in range(24)],
        }
    )
    return Gallery.create(tmp_path_factory.mktemp("hostile") / "gallery", calibrated, files, rows=rows)


@pytest.fixture(scope="session")
def page(hostile):
    return SearchPage(hostile)


@pytest.fixture(scope="session")
def asked_folder(tmp_path_factory):
    """A dataset to ask about; its cameras are called by markup."""
    folder = tmp_path_factory.mktemp("asked")
    make_asked(folder, camera=CAMERA, tracklets=True)
    return folder


@pytest.fixture
def asked_about(asked_folder):
    """The same, without answers: where they will be."""
    links = asked_folder / "data/synthetic/links.csv"
    links.unlink(missing_ok=True)
    return links


def asking_page(links, *, count=100):
    """A page of questions, as it is opened anew."""
    return AskingPage(open_asking(compose_values([]), data=links.parents[1]), count=count)


@contextmanager
def serving(page):
    with PageServer(page, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def server(page):
    with serving(page) as running:
        yield running
