"""Videos are read as players show them: turned, by their own times, as far as they are sound."""

from pathlib import Path

import numpy as np
import pytest

from reidlib.footage.video import Video
from tests.films import edit_bytes, turned, walk, write_video

SHADES = [np.full((64, 96, 3), 10 * number, np.uint8) for number in range(1, 21)]


def shades(video: Video, wanted=None) -> dict[int, tuple[float, int]]:
    """Return number -> time, and which of `SHADES` it is."""
    return {
        frame.number: (round(frame.time_seconds, 6), round(float(frame.pixels.mean()) / 10))
        for frame in video.frames(wanted)
    }


def test_frames_have_numbers_from_one_and_times_from_zero(tmp_path):
    video = Video(write_video(tmp_path / "a.mp4", SHADES))
    assert shades(video) == {n: (round((n - 1) / 10, 6), n) for n in range(1, 21)}
    assert (video.frames_read, video.declared, video.damage) == (20, 20, "")
    some = Video(video.path)
    assert list(shades(some, {3, 7})) == [3, 7] and some.frames_read == 7


def test_a_variable_rate_is_read_by_its_own_times(tmp_path):
    times = [5 + 0.04 * number + (1.5 if number > 4 else 0) + (60 if number > 8 else 0) for number in range(20)]
    for ending in ("mkv", "mp4"):
        found = shades(Video(write_video(tmp_path / f"a.{ending}", SHADES, times)))
        assert found == {n: (pytest.approx(times[n - 1] - 5, abs=2e-3), n) for n in range(1, 21)}


def test_a_turned_video_is_read_upright(tmp_path):
    drawn = np.zeros((64, 96, 3), np.uint8)
    drawn[:32, :48] = 240  # the left upper quarter comes to the right
    path = edit_bytes(write_video(tmp_path / "a.mp4", [drawn] * 3), turned)
    first = next(Video(path).frames()).pixels
    assert first.shape == (96, 64, 3)
    np.testing.assert_allclose(first.astype(float), np.rot90(drawn, -1), atol=40)


@pytest.mark.parametrize("share", [0.4, 0.7])
def test_a_file_that_was_cut_off_is_read_up_to_there(tmp_path, share):
    drawn, _ = walk(np.random.default_rng(0).integers(0, 256, (2, 2, 3)).astype(np.uint8), frames=15, noise=20)
    whole = write_video(tmp_path / "whole.mp4", drawn, movflags="faststart")
    cut = write_video(tmp_path / "cut.mp4", drawn, movflags="faststart")
    edit_bytes(cut, lambda data: data[: int(share * len(data))])
    video = Video(cut)
    found = list(video.frames())
    assert 0.3 * 15 * share < len(found) < 15 and video.frames_read == len(found) and video.damage
    for frame, expected in zip(found, Video(whole).frames(), strict=False):
        assert frame.number == expected.number and (frame.pixels == expected.pixels).all()


def test_what_is_no_video_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mp4: no such file"):
        list(Video(tmp_path / "nowhere.mp4").frames())
    path = tmp_path / "a.mp4"
    for data in (b"", b"not a video at all, but text", b"\0" * 5000):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"a\.mp4: .*copy it again"):
            list(Video(path).frames())
    without_index = write_video(tmp_path / "b.mp4", SHADES)  # its index is at the end
    edit_bytes(without_index, lambda data: data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"b\.mp4: cannot be read as a video .*cut off"):
        list(Video(without_index).frames())


def test_bytes_changed_inside_never_move_the_numbers_of_frames(tmp_path):
    drawn, _ = walk(np.random.default_rng(0).integers(0, 256, (2, 2, 3)).astype(np.uint8), frames=15, noise=20)
    whole = write_video(tmp_path / "whole.mkv", drawn)
    times = [frame.time_seconds for frame in Video(whole).frames()]
    generator = np.random.default_rng(1)
    data = whole.read_bytes()
    for _ in range(10):
        broken = bytearray(data)
        place = int(generator.integers(len(data) // 3, len(data)))
        broken[place : place + 200] = generator.bytes(min(200, len(data) - place))
        Path(tmp_path / "b.mkv").write_bytes(bytes(broken))
        found = [(frame.number, frame.time_seconds) for frame in Video(tmp_path / "b.mkv").frames()]
        assert found == [(number, times[number - 1]) for number, _ in found], place
