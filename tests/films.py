"""Videos drawn with PyAV: people of two colours each who walk through, and the boxes of a tracker that never errs."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE_PX = (128, 192)  # of a frame, height and width
PERSON_PX = (64, 32)


def write_video(path: Path, frames: Sequence[np.ndarray], times: Sequence[float] = (), **options: str) -> Path:
    """Write RGB frames, at these times in seconds, or ten a second without."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.time_base = Fraction(1, 1000)
            frame.pts = round(1000 * (times[number] if times else number / 10))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def walk(
    people: Sequence[np.ndarray], *, frames: int = 6, step_px: int = 6, noise: float = 4.0, seed: int = 0
) -> tuple[list[np.ndarray], list[str]]:
    """Return frames of people (colours of shirt and trousers, uint8 (2, 3)) one beside the other, and MOT lines."""
    generator = np.random.default_rng(seed)
    high, wide = PERSON_PX
    drawn, lines = [], []
    for number in range(frames):
        pixels = np.full((*SIZE_PX, 3), 128, np.uint8)
        for track, colours in enumerate(people, start=1):
            left, top = 8 + 48 * (track - 1) + step_px * number, 16 + 8 * track
            person = np.repeat(colours, high // 2, axis=0)[:, None].repeat(wide, axis=1)
            person = np.roll(person, 2 * number, axis=0)  # who walks looks a little different each time
            pixels[top : top + high, left : left + wide] = person
            lines.append(f"{number + 1},{track},{left},{top},{wide},{high},0.9")
        shaken = pixels + generator.normal(0, noise, pixels.shape)
        drawn.append(shaken.clip(0, 255).astype(np.uint8))
    return drawn, lines


def make_footage(folder: Path, *, people: int = 6, frames: int = 6) -> None:
    """Write door.mp4, yard.mp4 and their boxes, door.txt and yard.txt: the same people, two at a time."""
    colours = np.random.default_rng(0).integers(0, 256, (people, 2, 3)).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for seed, camera in enumerate(("door", "yard")):
        drawn: list[np.ndarray] = []
        lines: list[str] = []
        for first in range(0, people, 2):
            part, told = walk(colours[first : first + 2], frames=frames, seed=seed)
            lines += [_later(line, len(drawn), first) for line in told]
            drawn += part
        write_video(folder / f"{camera}.mp4", drawn)
        (folder / f"{camera}.txt").write_text("\n".join(lines) + "\n")


def edit_bytes(path: Path, change: Callable[[bytes], bytes]) -> Path:
    """Change a file's bytes."""
    path.write_bytes(change(path.read_bytes()))
    return path


def turned(data: bytes) -> bytes:
    """Give an mp4 the mark by which players turn it a quarter clockwise: the matrix of its track's header."""
    place = data.index(b"tkhd") + 4
    start = place + 40  # version and flags, times, numbers, duration, two reserved, layer, group, volume, reserved
    matrix = b"".join(number.to_bytes(4, "big", signed=True) for number in
                      (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30))  # fmt: skip
    return data[:start] + matrix + data[start + 36 :]


def _later(line: str, frames: int, tracks: int) -> str:
    frame, track, *rest = line.split(",")
    return ",".join([str(int(frame) + frames), str(int(track) + tracks), *rest])
