"""A trained network as ONNX, which runs without torch, and is only written where it gives what the network gives."""

import json
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn
from torch.nn import functional

from reidlib.embed import embed
from reidlib.files import atomic_file
from reidlib.models.description import Description
from reidlib.models.embedder import Embedder, Features

Pixels = UInt8[np.ndarray, "n height_px width_px 3"]
Preprocessing = Literal["inside", "beside"]
Precision = Literal["fp32", "fp16", "int8"]

INPUT, OUTPUT = "images", "embeddings"
OPSET = 18
BATCHES = (1, 2, 7)  # images at a time for which both must agree
LIMITS: Mapping[str, float] = {"fp32": 1e-4, "fp16": 1e-2, "int8": 1e-2}  # largest difference of a number
MISSING = "ONNX needs the extra `export`: pip install 'reidlib[export]' (onnx, onnxruntime)"


class _Exported(nn.Module):
    """What is traced: a network from what it is given to unit-norm embeddings, nothing that depends on the batch."""

    scale: Tensor
    shift: Tensor

    def __init__(self, model: Embedder, preprocessing: Preprocessing, *, flip: bool) -> None:
        super().__init__()
        mean, std = torch.tensor(model.architecture.mean), torch.tensor(model.architecture.std)
        self.model, self.inside, self.flip = model, preprocessing == "inside", flip
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -mean / std)

    def forward(self, images: Tensor) -> Float32[Tensor, "b dimension"]:
        if self.inside:
            images = (images.float() * self.scale + self.shift).permute(0, 3, 1, 2)
        if not self.flip:
            return self._features(images).embeddings
        return functional.normalize(self._features(images).summands + self._features(images.flip(3)).summands, dim=1)

    def _features(self, images: Tensor) -> Features:
        pooled = self.model.pool(self.model.backbone(images)).flatten(1)
        before = self.model.architecture.embedding == "before_neck"
        return Features(pooled[:, None], self.model.neck(pooled)[:, None], before)


def export_onnx(
    model: Embedder,
    path: Path,
    *,
    images: Pixels,
    preprocessing: Preprocessing = "inside",
    precision: Precision = "fp32",
    description: Description | None = None,
) -> float:
    """Write a network as ONNX for batches of any size, after comparing what it gives with what the network gives.

    Its output `embeddings` is float32 (b, dimension) of norm 1. Its metadata hold `preprocessing`, as JSON, and the
    description under the key that safetensors have it. torch's exporter by tracing is used: it takes seconds where the
    other takes minutes.

    Args:
        model: on the CPU, in evaluation mode.
        path: of the file.
        images: at least seven pictures to compare on, of the size that the network takes.
        preprocessing: "inside": the input `images` is uint8 RGB (b, height, width, 3), as pictures are; "beside": it is
            float32 (b, 3, height, width), normalised as the metadata say.
        precision: of the weights.
        description: of the model; its architecture alone without.

    Returns:
        The largest difference of a number of an embedding, over batches of 1, 2 and 7 images.

    Raises:
        ValueError: naming what cannot be exported, or what differs by how much; without the extra `export`.
    """
    _check(model, images)
    told, name = description or Description(architecture=model.architecture), model.architecture.backbone
    traced, given = _Exported(model, preprocessing, flip=told.flip).eval(), _given(model, images, preprocessing)
    expected = embed(model, images[: max(BATCHES)], batch_size=max(BATCHES), flip=told.flip)
    with atomic_file(path) as temporary:
        _trace(traced, given[:2], temporary, any_size=model.architecture.size_px is None, name=name)
        _finish(temporary, precision, _metadata(told, preprocessing))
        difference = _difference(temporary, given, expected)
        if not difference <= LIMITS[precision]:
            raise ValueError(
                f"{path}: {name} as {precision} ONNX gives embeddings that differ from the network's by up to "
                f"{difference:.2g}, more than {LIMITS[precision]:g}; nothing was written"
                + ("" if precision == "fp32" else "; choose fp32")
            )
    return difference


def preprocess(images: Pixels, *, mean: Sequence[float], std: Sequence[float]) -> Float32[np.ndarray, "n 3 h w"]:
    """Return what a network whose preprocessing lies beside takes: levels less their mean over their deviation."""
    levels = (images / np.float32(255) - np.array(mean, np.float32)) / np.array(std, np.float32)
    return np.ascontiguousarray(levels.transpose(0, 3, 1, 2), np.float32)


def _check(model: Embedder, images: Pixels) -> None:
    size = model.architecture.size_px
    if len(images) < max(BATCHES) or (size is not None and images.shape[1:3] != size):
        raise ValueError(
            f"ONNX: expected at least {max(BATCHES)} pictures of {size or 'one size'} (height, width) to compare on, "
            f"found {len(images)} of {images.shape[1:3]}"
        )
    try:
        import onnx  # noqa: F401 - asked for before minutes are spent
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ValueError(f"{MISSING}; {error}") from error


def _given(model: Embedder, images: Pixels, preprocessing: Preprocessing) -> np.ndarray:
    chosen, shape = np.array(images[: max(BATCHES)]), model.architecture
    return chosen if preprocessing == "inside" else preprocess(chosen, mean=shape.mean, std=shape.std)


def _metadata(description: Description, preprocessing: Preprocessing) -> dict[str, str]:
    architecture = description.architecture
    wanted = architecture.preprocessing | {"size_px": architecture.size_px, "where": preprocessing}
    return description.metadata() | {"preprocessing": json.dumps(wanted)}


def _trace(traced: nn.Module, example: Any, path: Path, *, any_size: bool, name: str) -> None:
    """Export by tracing; refuse, by name, what has no equal in ONNX."""
    axes = {0: "batch"}
    if any_size:
        axes |= {1: "height", 2: "width"} if example.dtype == np.uint8 else {2: "height", 3: "width"}
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of what may go wrong in tracing; the comparison tells whether it did
            torch.onnx.export(
                traced, (torch.from_numpy(example),), path, dynamo=False, opset_version=OPSET, input_names=[INPUT],
                output_names=[OUTPUT], dynamic_axes={INPUT: axes, OUTPUT: {0: "batch"}},
                keep_initializers_as_inputs=True,  # else weights that are equal become one, and lose their names
            )  # fmt: skip
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        raise ValueError(f"{name}: cannot be exported to ONNX: {str(error).splitlines()[0]}") from error


def _finish(path: Path, precision: Precision, facts: Mapping[str, str]) -> None:
    """Take the weights off the inputs, change their precision, add metadata; in place."""
    import onnx

    network = onnx.load(path)
    inputs = [value for value in network.graph.input if value.name == INPUT]
    del network.graph.input[:]
    network.graph.input.extend(inputs)
    if precision == "fp16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        network = convert_float_to_float16(network, keep_io_types=True)
    onnx.helper.set_model_props(network, dict(facts))
    onnx.save(network, path)
    if precision == "int8":
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with tempfile.TemporaryDirectory() as folder:
            small = Path(folder) / "int8.onnx"
            quantize_dynamic(path, small, weight_type=QuantType.QUInt8)
            path.write_bytes(small.read_bytes())


def _difference(path: Path, given: np.ndarray, expected: Float[np.ndarray, "n d"]) -> float:
    """Return by how much, at most, batches of 1, 2 and 7 differ from what is expected; NaN counts as infinitely."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    differences = []
    for count in BATCHES:
        (found,) = session.run(None, {INPUT: given[:count]})
        differences.append(np.abs(found - expected[:count]).max() if found.shape == expected[:count].shape else np.inf)
    return float(np.nan_to_num(np.max(differences), nan=np.inf))
