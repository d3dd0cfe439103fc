"""Nothing that comes in a file is ever run, and no result hangs on the clock."""

import ast
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from reidlib.archives.archive import list_archive
from reidlib.archives.decode import decode
from reidlib.images.identities import read_identities
from reidlib.images.names import read_names
from reidlib.images.split import PIXELS_FILE, ROWS, ROWS_FILE, open_pixels, open_split, read_rows
from reidlib.labels.pseudo_labels import read_labels
from reidlib.models.architecture import Architecture
from reidlib.models.embedder import load_embedder, new_embedder
from reidlib.models.weights import load_weights
from reidlib.tables import open_embeddings

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("reidlib/**/*.py"), *ROOT.glob("stages/*.py")])
SMALL = Architecture(backbone="resnet18_half", last_stride=1, pooling="gem", gem_power=3.0, batch_norm_group=64)
IDS = pd.Series(["0" * 16], dtype="str")


def calls(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Every call of a source file: its function as written, with the keywords that are constants."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            constants = {word.arg: word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)}
            yield ast.unparse(node.func), constants


def imports(path: Path) -> Iterator[str]:
    """Every name that a source file imports, with its module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_unpickles_evaluates_or_asks_the_time(path: Path) -> None:
    modules = {name.split(".")[0] for name in imports(path)}
    assert not modules & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    clocks = {"time", "time.time", "time.time_ns", "datetime.datetime", "datetime.date", "datetime"}
    assert not set(imports(path)) & clocks  # perf_counter, monotonic and sleep are imported by name
    for name, constants in calls(path):
        assert name not in ("eval", "exec", "yaml.load", "yaml.unsafe_load", "pd.read_pickle")
        assert name != "np.load" or constants["allow_pickle"] is False
        assert name != "torch.load" or constants["weights_only"] is True


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[Callable, tuple]:
        return os.mkdir, (str(self.flag),)


def weights(path: Path) -> None:
    load_weights(new_embedder(SMALL, seed=0), weights=path.name, folder=path.parent)


LOADERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "packed images": (PIXELS_FILE, open_pixels),
    "embeddings": ("train.npy", lambda path: open_embeddings(path, images=1)),
    "rows": (ROWS_FILE, lambda path: read_rows(path.parent)),
    "identities": ("identities.parquet", lambda path: read_identities(path, among=IDS)),
    "names": ("names.parquet", lambda path: read_names(path, among=IDS)),
    "labels": ("labels.parquet", lambda path: read_labels(path, images=IDS)),
    "embedder": ("model.safetensors", load_embedder),
    "weights as safetensors": ("w.safetensors", weights),
    "weights of torch": ("w.pth", weights),
    "archive": ("a.zip", list_archive),
    "image": ("a.jpg", lambda path: decode(path.read_bytes(), height_px=8, width_px=4, max_megapixels=1.0)),
}


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("protocol", [0, 5])
def test_a_pickle_in_place_of_a_file_does_not_run(tmp_path: Path, loader: str, protocol: int) -> None:
    name, load = LOADERS[loader]
    payload = Payload(tmp_path / "ran")
    (tmp_path / name).write_bytes(pickle.dumps(payload, protocol))
    with pytest.raises(ValueError):
        load(tmp_path / name)
    with (tmp_path / name).open("wb") as file:  # np.save would change the name
        np.save(file, np.array([payload], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError):
        load(tmp_path / name)
    torch.save({"state_dict": payload}, tmp_path / name)
    if loader == "archive":  # torch's files are zips
        assert list_archive(tmp_path / name).texts == {}
    else:
        with pytest.raises(ValueError):
            load(tmp_path / name)
    assert not payload.flag.exists()
    pickle.loads(pickle.dumps(payload))
    assert payload.flag.exists()  # the payload works


def test_a_pickled_type_in_a_parquet_does_not_run(tmp_path: Path) -> None:
    """Arrow once rebuilt Python types from pickles in a table's schema [CVE-2023-47248]."""
    payload = Payload(tmp_path / "ran")
    data = {"image": ["0" * 16], "camera": [0], "tracklet": [-1], "frame": [-1]}
    marks = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": pickle.dumps(payload)}
    fields = [pa.field(name, kind, metadata=marks) for name, kind in ROWS.items()]
    pq.write_table(pa.table(data, schema=pa.schema(fields)), tmp_path / ROWS_FILE)
    np.save(tmp_path / PIXELS_FILE, np.zeros((1, 2, 1, 3), np.uint8))
    open_split(tmp_path)
    assert not payload.flag.exists()
