"""The stage unzip: its command line, its metrics, its errors."""

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from reidlib.images.split import SPLITS, open_split

ROOT = Path(__file__).parents[2]


def archive(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as file:
        for folder in ("bounding_box_train", "query", "bounding_box_test"):
            for number in range(4):
                pixels = np.random.default_rng(number).integers(0, 256, (20, 10, 3), dtype=np.uint8)
                image = io.BytesIO()
                Image.fromarray(pixels).save(image, "JPEG")
                file.writestr(f"{folder}/{number:04d}_c{number % 2 + 1}s1_{number:06d}_01.jpg", image.getvalue())
    return path


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["dataset"] |= {"name": "synthetic", "reader": "synthetic"}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    options = {"raw": "raw", "images": "images", "identities": "identities.parquet", "names": "names.parquet"}
    options["metrics"] = "metrics/unzip.json"
    command = [sys.executable, "-m", "stages.unzip", *(f"--{name}={value}" for name, value in options.items())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not (ROOT / "params.yaml").is_file(), reason="params.yaml is not composed yet")
def test_unzip_from_the_command_line(tmp_path: Path) -> None:
    archive(tmp_path / "raw" / "synthetic.zip")
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "metrics" / "unzip.json").read_text())
    assert metrics["train_images"] == metrics["query_images"] == metrics["gallery_images"] == 4
    assert metrics["cameras"] == 2
    assert [len(open_split(tmp_path / "images" / split)) for split in SPLITS] == [4, 4, 4]
    assert (tmp_path / "identities.parquet").is_file() and (tmp_path / "names.parquet").is_file()
    assert done.stdout.startswith("synthetic.zip: 12 images, 2 cameras, 3 people in 9 images\n")


@pytest.mark.skipif(not (ROOT / "params.yaml").is_file(), reason="params.yaml is not composed yet")
def test_bad_input_is_one_message_and_no_artifact(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    done = run(tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: raw: no archive")
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml", "raw"]
