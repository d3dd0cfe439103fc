"""Images per second into a training batch, on one core: the fused pass over packed images against one image at a time.

    python -m benchmarks.loader [--json]

The peer is what the published codes run in each worker: decode a JPEG with PIL, then torchvision's transforms of the
one image. Both read the same pictures from memory and make the same kind of batch. They take turns in one process, on
one thread, timed in CPU seconds, which other work on the machine disturbs less. Beside them: resized first,
and with all the further variations but the policies.
"""

import io
from collections.abc import Callable
from dataclasses import replace
from time import process_time

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

from benchmarks.measure import run_repeated
from reidlib.batches.augment import Augmentation, augment, normalise
from reidlib.batches.variation import BOX_AREA, BOX_ASPECT, IMAGENET_MEAN, IMAGENET_STD

BATCH = 64
IMAGES = 1024
SETTINGS = Augmentation(gain=0.2, offset=0.1)
DISTORTED = replace(
    SETTINGS, translate=0.5, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1, blur=0.5, grey_patch=0.4, cutout=0.5
)


def images_per_second(height: int, width: int, *, repeats: int) -> dict[str, float]:
    """Return images per second of each way at one size; medians of alternating runs on one thread."""
    generator = np.random.default_rng(0)
    packed = _pictures(generator, height, width)
    larger = _pictures(generator, height + height // 8, width + width // 8)
    files = [_jpeg(image) for image in packed[: 2 * BATCH]]
    one_by_one = transforms.Compose(
        [
            transforms.Resize((height, width), interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.RandomHorizontalFlip(),
            transforms.Pad(SETTINGS.pad),
            transforms.RandomCrop((height, width)),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            transforms.RandomErasing(0.5, scale=BOX_AREA, ratio=BOX_ASPECT),
        ]
    )

    def rows() -> np.ndarray:
        return generator.integers(0, len(packed), BATCH)

    def peer() -> None:
        chosen = rows() % len(files)
        torch.stack([one_by_one(Image.open(io.BytesIO(files[row])).convert("RGB")) for row in chosen])

    ways: dict[str, Callable[[], object]] = {
        "fused_channels_last": lambda: augment(packed, generator, settings=SETTINGS, rows=rows()),
        "normalise_channels_last": lambda: normalise(packed, rows=rows()),
        "resized_channels_last": lambda: augment(
            larger, generator, settings=SETTINGS, rows=rows(), size_px=(height, width)
        ),
        "distorted_channels_last": lambda: augment(packed, generator, settings=DISTORTED, rows=rows()),
        "one_by_one": peer,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 2):  # two to compile and to warm up
        for name, way in ways.items():
            start = process_time()
            way()
            if repeat >= 2:
                seconds[name].append(process_time() - start)
    return {name: BATCH / float(np.median(times)) for name, times in seconds.items()}


def _pictures(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Smooth colours with a little noise, so that JPEG files have the size of photographs."""
    coarse = generator.integers(0, 256, (IMAGES, height // 16, width // 16, 3)).astype(np.uint8)
    smooth = coarse.repeat(16, axis=1).repeat(16, axis=2) // 2
    return smooth + generator.integers(0, 32, smooth.shape, dtype=np.uint8)


def _jpeg(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=90)
    return file.getvalue()


def measure(*, repeats: int = 40) -> dict[str, float]:
    torch.set_num_threads(1)
    figures: dict[str, float] = {}
    for height, width in ((256, 128), (128, 64)):
        speeds = images_per_second(height, width, repeats=repeats)
        size = f"{height}x{width}"
        figures |= {f"{name}_{size}_images_per_second": speed for name, speed in speeds.items()}
        figures[f"ratio_{size}"] = speeds["fused_channels_last"] / speeds["one_by_one"]
    return figures


if __name__ == "__main__":
    run_repeated(measure, description=__doc__, repeats=40)
