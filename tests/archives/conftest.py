"""Images and archives made for the tests of reidlib.archives."""

import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeImage = Callable[..., bytes]
MakeArchive = Callable[[Path, Mapping[str, bytes]], Path]


@pytest.fixture(scope="session")
def make_image() -> MakeImage:
    """Return a function (seed, kind="JPEG", mode="RGB", size=(width, height)) -> bytes of a smooth image."""

    def make(seed: int = 0, kind: str = "JPEG", mode: str = "RGB", size: tuple[int, int] = (20, 40)) -> bytes:
        blocks = np.random.default_rng(seed).integers(0, 256, (4, 2, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC).convert(mode).save(file, kind)
        return file.getvalue()

    return make


@pytest.fixture(scope="session")
def make_zip() -> MakeArchive:
    """Return a function (path, {name: bytes}) -> path that writes a zip with its members in that order."""

    def make(path: Path, files: Mapping[str, bytes]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path

    return make


@pytest.fixture(scope="session")
def make_tar() -> MakeArchive:
    """Return a function (path, {name: bytes}) -> path that writes a tar, or a tar.gz where the path says so."""

    def make(path: Path, files: Mapping[str, bytes]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return path

    return make
