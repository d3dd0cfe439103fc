"""A folder of pictures to vectors (read, decoded, resized, embedded) against the bare network on packed images.

    python -m benchmarks.pictures [--pictures 256] [--backbone resnet50] [--height 256] [--width 128] [--json]

JPEGs of some 250 x 120 pixels, made up; random weights. Both in one process, taking
turns; the vectors must agree to 1e-5.
"""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import measure
from benchmarks.measure import compare, report
from reidlib.embed import embed
from reidlib.gallery.model import Model
from reidlib.gallery.pictures import read_pictures
from reidlib.models.architecture import Architecture
from reidlib.models.description import Description
from reidlib.models.embedder import new_embedder


def write_pictures(folder: Path, pictures: int) -> list[Path]:
    """Write JPEGs of some 100 to 300 pixels, smooth with a little noise, as crops are."""
    generator = np.random.default_rng(0)
    paths = [folder / f"{number:05d}.jpg" for number in range(pictures)]
    for path in paths:
        coarse = generator.integers(0, 256, (12, 6, 3), dtype=np.uint8)
        size = (int(generator.integers(90, 150)), int(generator.integers(200, 320)))
        pixels = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.int16)
        noisy = (pixels + generator.integers(-9, 10, pixels.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(path, quality=90)
    return paths


def main() -> None:
    parser = measure.options(__doc__, pictures=256, backbone="resnet50", height=256, width=128, repeats=3)
    options = parser.parse_args()
    size = (options.height, options.width)
    architecture = Architecture(backbone=options.backbone, last_stride=1, pooling="gem", gem_power=3.0,
                                batch_norm_group=64, height_px=size[0], width_px=size[1])  # fmt: skip
    model = Model(new_embedder(architecture, seed=0).eval(), Description(architecture=architecture), "random")
    with tempfile.TemporaryDirectory() as place:
        paths = write_pictures(Path(place), options.pictures)
        packed = np.stack([pixels for pixels in read_pictures(paths, size_px=size) if isinstance(pixels, np.ndarray)])
        results: dict[str, np.ndarray] = {}

        def ours() -> None:
            results["ours"] = model.embed(place)

        def bare() -> None:
            results["bare"] = embed(model.embedder, packed, batch_size=64)

        figures = compare(ours, bare, repeats=options.repeats)
    if np.abs(results["ours"] - results["bare"]).max() > 1e-5:
        raise RuntimeError("the vectors differ from those of the bare network")
    names = {"benchmark": "pictures", "pictures": options.pictures, "backbone": options.backbone, "size": str(size)}
    rate = options.pictures / (figures["median_seconds"] or 1)
    report(names | {"pictures_per_second": rate} | figures | {"baseline": "bare network"}, as_json=options.json)


if __name__ == "__main__":
    main()
