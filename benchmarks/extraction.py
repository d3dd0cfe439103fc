"""Images per second that `embed` embeds, beside the bare network on batches that are ready, of several sizes.

    python -m benchmarks.extraction [--backbone timm/efficientnet_lite0 --height 128 --width 64 --images 512] [--json]

All take turns; medians. `--processor` takes seconds of the processor, not of the clock: on a busy machine, with
one thread, they tell more. The sizes show why a CPU takes few images at a time (`reidlib.embed.CPU_PIXELS`).
"""

from collections.abc import Callable
from functools import partial
from time import perf_counter, process_time

import numpy as np
import torch

from benchmarks.measure import report
from benchmarks.step import network, options, waited
from reidlib.embed import device, embed
from reidlib.models.embedder import Embedder

SIZES = (16, 64, 256)


@torch.inference_mode()
def bare(model: Embedder, images: torch.Tensor, *, size: int, bf16: bool) -> None:
    for start in range(0, len(images), size):
        with torch.autocast(device().type, torch.bfloat16, enabled=bf16):
            model(images[start : start + size])
    waited()


def measure(
    *, backbone: str, height: int, width: int, images: int, repeats: int, clock: Callable[[], float]
) -> dict[str, float | str]:
    crops = np.random.default_rng(0).integers(0, 256, (images, height, width, 3), dtype=np.uint8)
    ready = torch.randn(images, 3, height, width).to(device()).to(memory_format=torch.channels_last)
    model = network(backbone, last_stride=2).eval()
    ways: dict[str, Callable[[], object]] = {}
    for name, bf16 in (("fp32", False), ("bf16", True)):
        ways[f"embed_{name}"] = partial(embed, model, crops, bf16=bf16)
        for size in SIZES:
            ways[f"bare_{size}_{name}"] = partial(bare, model, ready, size=size, bf16=bf16)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, way in ways.items():
            began = clock()
            way()
            taken[name].append(clock() - began)
    rates = {f"{name}_images_per_second": images / float(np.median(values[1:])) for name, values in taken.items()}
    return {"backbone": backbone, "size": f"{height}x{width}", "images": images, **rates}


def main() -> None:
    parser = options(__doc__)
    parser.set_defaults(backbone="timm/efficientnet_lite0", height=128, width=64)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--processor", action="store_true", help="seconds of the processor, not of the clock")
    given = parser.parse_args()
    figures = measure(
        backbone=given.backbone, height=given.height, width=given.width, images=given.images, repeats=given.repeats,
        clock=process_time if given.processor else perf_counter,
    )  # fmt: skip
    report(figures, as_json=given.json)


if __name__ == "__main__":
    main()
