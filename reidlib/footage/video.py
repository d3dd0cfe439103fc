"""A video file, frame by frame: upright, with the time of each; as far as it is sound."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import UInt8

if TYPE_CHECKING:
    import av


class Frame(NamedTuple):
    """A frame: its number (from 1, as in MOT files), its time since the first frame, RGB as players show it."""

    number: int
    time_seconds: float
    pixels: UInt8[np.ndarray, "h w 3"]


class Video:
    """A video file that is read once, from its start to its end or to where it is damaged.

    A file that was cut off while it was copied or written is read up to there; so is one whose clock jumps back. What
    comes after a damaged frame is not read, since nobody could tell the numbers of its frames.

    Attributes:
        path: the file.
        frames_read: how many frames have been read.
        declared: how many it says that it has; 0 where it does not say.
        damage: why reading ended before the file said that it would; empty where it did not.
    """

    def __init__(self, path: Path) -> None:
        """Take a file; nothing is read yet.

        Raises:
            ValueError: PyAV is not installed.
        """
        try:
            import av  # noqa: F401 - is it there?
        except ImportError as error:
            raise ValueError(
                "videos are read by PyAV, which is not installed: pip install 'reidlib[footage]'"
            ) from error
        self.path, self.frames_read, self.declared, self.damage = path, 0, 0, ""

    def frames(self, wanted: Collection[int] | None = None) -> Iterator[Frame]:
        """Yield the frames of the `wanted` numbers, all without; where these are read, reading ends.

        Times are those that the file gives its frames, whatever its rate; where it gives none, they are counted by its
        rate. Frames are turned as the file says.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no video, damaged before its first frame, or gives neither times nor a rate.
        """
        import av

        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such file")
        last = None if wanted is None else max(wanted, default=0)
        try:
            container = av.open(str(self.path))
        except av.error.FFmpegError as error:
            raise ValueError(
                f"{self.path}: cannot be read as a video ({error.strerror}); a file that was cut off while it was "
                "copied or recorded looks like this too: copy it again"
            ) from error
        with container:
            if not container.streams.video:
                raise ValueError(f"{self.path}: no video in it, but {len(container.streams)} streams of other kinds")
            self.declared = container.streams.video[0].frames
            for time, frame in self._sound(container):
                if wanted is None or self.frames_read in wanted:
                    yield Frame(self.frames_read, time, _upright(frame))
                if self.frames_read == last:
                    return
            if not self.damage and self.frames_read < self.declared:
                self.damage = f"it ends after frame {self.frames_read:,} of the {self.declared:,} that it declares"
        if self.frames_read == 0:
            raise ValueError(f"{self.path}: not one frame can be read ({self.damage or 'it has none'}); copy it again")

    def _sound(self, container: "av.container.InputContainer") -> Iterator[tuple[float, "av.VideoFrame"]]:
        """Yield the times and frames up to the first damage, which is noted."""
        import av

        stream = container.streams.video[0]
        first, before = 0.0, -1.0
        frames = container.decode(stream)
        while True:
            try:
                frame = next(frames, None)
            except av.error.FFmpegError as error:
                self.damage = f"damaged after frame {self.frames_read:,} ({error.strerror})"
                return
            if frame is None:
                return
            time = self._time(frame, stream)
            if self.frames_read == 0:
                first = time
            if frame.is_corrupt or time - first <= before:
                why = "is damaged" if frame.is_corrupt else "is not later than the one before it"
                self.damage = f"frame {self.frames_read + 1:,} {why}"
                return
            self.frames_read, before = self.frames_read + 1, time - first
            yield before, frame

    def _time(self, frame: "av.VideoFrame", stream: "av.VideoStream") -> float:
        if frame.time is not None:
            return float(frame.time)
        rate = stream.average_rate or stream.guessed_rate
        if not rate:
            raise ValueError(f"{self.path}: its frames have no times, and it names no rate; wrap it as .mp4 or .mkv")
        return float(self.frames_read / rate)


def _upright(frame: "av.VideoFrame") -> UInt8[np.ndarray, "h w 3"]:
    """Return a frame as RGB, turned by the quarter turns that the file asks for."""
    pixels: UInt8[np.ndarray, "h w 3"] = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))
