"""Thumbnails: they are the pictures, in the best form that fits; texts can be cut where they say."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from reidlib.report.compact import base64_of, compact, rounding
from reidlib.report.thumbnails import FORMS, data_uri, joined_base64, thumbnails


def pictures(n=6, height=96, width=48):
    ramp = np.linspace(0, 255, height)[:, None, None] * np.ones((1, width, 1))
    return [np.stack([np.roll(ramp[..., 0], 9 * k, 0), ramp[..., 0], 255 - ramp[..., 0]], 2).astype(np.uint8)
            for k in range(n)]  # fmt: skip


def test_thumbnails_are_the_pictures_and_no_larger():
    given = pictures()
    for file, picture in zip(thumbnails(given, most_bytes=10**6), given, strict=True):
        with Image.open(io.BytesIO(file)) as opened:
            assert opened.format == "WEBP" and opened.size == (48, 96)  # 128 would be larger than it is
            assert np.abs(np.asarray(opened.convert("RGB"), int) - picture).mean() < 12


def test_as_good_as_the_bytes_allow():
    noise = np.random.default_rng(0).integers(0, 256, (20, 128, 64, 3), dtype=np.uint8)
    noise = list(noise)
    heights = []
    for most in (10**7, 60_000, 20_000, 1):
        files = thumbnails(noise, most_bytes=most)
        assert sum(map(len, files)) <= most or most == 1
        with Image.open(io.BytesIO(files[0])) as opened:
            heights.append(opened.height)
    assert heights[0] == 128 and heights[-1] == FORMS[-1][0] and heights == sorted(heights, reverse=True)
    assert thumbnails([], most_bytes=1) == []


def test_a_text_is_cut_into_the_files():
    files = [b"a", b"bc", b"", b"def"]
    text, ends = joined_base64(files)
    starts = [0, *ends[:-1]]
    assert [base64.b64decode(text[start:end]) for start, end in zip(starts, ends, strict=True)] == files
    assert data_uri(pictures(1)[0]).startswith("data:image/webp;base64,UklGR")


@pytest.mark.parametrize(("most_bytes", "width", "error"), [(10**6, 48, 0.01), (60 * 40, 40, 0.2)])
def test_compact_embeddings_keep_their_cosines(most_bytes, width, error):
    rows = np.random.default_rng(0).normal(size=(60, 48)) * np.linspace(2, 0.1, 48)
    embeddings = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    numbers, scales = compact(embeddings, most_bytes=most_bytes)
    assert numbers.shape == (60, width) and numbers.dtype == np.int8
    slow = np.array([[float(a @ b) for b in embeddings] for a in embeddings])
    found = np.array([[int(a.astype(int) @ b.astype(int)) for b in numbers] for a in numbers]) * np.outer(
        scales, scales
    )
    assert np.abs(found - slow).max() <= error
    assert rounding(embeddings, numbers, scales) == pytest.approx(np.abs(found - slow).max(), abs=1e-5)


def test_bytes_are_little_endian():
    assert base64.b64decode(base64_of(np.array([1, 2], ">u2"))) == b"\x01\x00\x02\x00"
