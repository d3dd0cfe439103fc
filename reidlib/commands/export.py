"""A model as ONNX: ``reidlib export --model model.safetensors --to model.onnx``."""

from collections.abc import Sequence
from pathlib import Path

from reidlib.commands.parsing import command_parser

HELP = "write a model as ONNX, which runs without torch"
EXAMPLE = """reidlib export --model model.safetensors --to model.onnx --pictures crops/
reidlib export --preprocessing beside --precision fp16 --to small.onnx"""


def main(arguments: Sequence[str]) -> None:
    """Write ONNX that gives what the model gives, or refuse to, naming what differs."""
    parser = command_parser("export", f"{HELP}; refused where it does not give what the model gives.", EXAMPLE)
    parser.add_argument("--model", type=Path, default=Path("model.safetensors"), help="that the pipeline trained")
    parser.add_argument("--to", type=Path, default=Path("model.onnx"), help="the file to write; model.onnx")
    parser.add_argument(
        "--preprocessing", choices=["inside", "beside"], default="inside",
        help="inside: it takes pictures as they are, uint8 RGB; beside: normalised ones, as its metadata say; inside",
    )  # fmt: skip
    parser.add_argument("--precision", choices=["fp32", "fp16", "int8"], default="fp32", help="of its weights; fp32")
    parser.add_argument("--pictures", nargs="+", type=Path, help="to compare both on, and folders of them; else noise")
    chosen = parser.parse_args(arguments)
    if chosen.to.suffix != ".onnx":
        parser.error(f"--to: expected a name that ends with .onnx, found {chosen.to}")

    import numpy as np

    from reidlib.export.folder import pictures_for
    from reidlib.export.onnx_file import BATCHES, export_onnx
    from reidlib.gallery.model import load
    from reidlib.gallery.pictures import files_of, read_pictures

    model = load(chosen.model, device="cpu")
    size = model.description.size_px or (256, 128)
    if chosen.pictures:
        read = list(read_pictures(files_of(chosen.pictures)[: max(BATCHES)], size_px=size))
        for picture in read:
            if isinstance(picture, ValueError):
                raise picture
        images = np.stack([picture for picture in read if not isinstance(picture, ValueError)])
    else:
        images = np.random.default_rng(0).integers(0, 256, (max(BATCHES), *size, 3), np.uint8)
    difference = export_onnx(
        model.embedder, chosen.to, images=pictures_for(model.embedder, images), preprocessing=chosen.preprocessing,
        precision=chosen.precision, description=model.description,
    )  # fmt: skip
    print(
        f"wrote {chosen.to}: {chosen.precision}, preprocessing {chosen.preprocessing}; batches of 1, 2 and 7 pictures"
    )
    print(f"differ from the model's embeddings by at most {difference:.1g}")
