"""The network of every stage: backbone, pooling, BN neck, unit norm; and the file it is kept in."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from reidlib.files import atomic_file
from reidlib.models.adaptive_norm import adapt_norms
from reidlib.models.architecture import Architecture
from reidlib.models.attention import add_attention
from reidlib.models.backbones import backbone
from reidlib.models.camera_norm import add_camera_norm, set_cameras
from reidlib.models.description import Description
from reidlib.models.grouped_norm import group_norms
from reidlib.models.pooling import pooling


class Features(NamedTuple):
    """What the network makes of a batch, of `parts` vectors per image (1 but for branched networks).

    Attributes:
        pooled: before the BN neck, where distances are learnt [Luo et al., CVPRW 2019, arXiv:1903.07071].
        necked: after it, where classifiers look.
        before_neck: whether embeddings are made of `pooled`, not of `necked`.
    """

    pooled: Float[Tensor, "b parts d"]
    necked: Float[Tensor, "b parts d"]
    before_neck: bool = False

    @property
    def embeddings(self) -> Float[Tensor, "b dimension"]:
        """The parts side by side, as a vector of norm 1: what is searched and compared."""
        return functional.normalize((self.pooled if self.before_neck else self.necked).flatten(1), dim=1)

    @property
    def summands(self) -> Float[Tensor, "b dimension"]:
        """What is added up where several views of an image make one embedding.

        Embeddings; before the neck the vectors as they are, as published codes add them there.
        """
        return self.pooled.flatten(1) if self.before_neck else self.embeddings

    def of(self, parts: Sequence[int] | None) -> "Features":
        """Return the features of some parts, in this order; of all where None.

        Raises:
            ValueError: a part that there is not.
        """
        if parts is None:
            return self
        if not all(0 <= part < self.pooled.shape[1] for part in parts):
            raise ValueError(f"parts: expected some of 0..{self.pooled.shape[1] - 1}, found {list(parts)}")
        return self._replace(pooled=self.pooled[:, list(parts)], necked=self.necked[:, list(parts)])


class Embedder(nn.Module):
    """Images to unit-norm embeddings: backbone, pooling, BN neck [Luo et al., CVPRW 2019, arXiv:1903.07071].

    The neck is a batch normalisation whose bias is fixed at zero; embeddings are taken after it, in training and in
    evaluation, as the cluster-contrast family does [Dai et al., arXiv:2103.11568], or before it, as IIDS does. Batch
    statistics are taken per group of samples, so that a recipe does not depend on the number of devices
    (`reidlib.models.grouped_norm`).
    """

    def __init__(self, architecture: Architecture) -> None:
        """Build with random weights, drawn from torch's global generator."""
        super().__init__()
        self.architecture = architecture
        self.backbone, width = backbone(
            architecture.backbone,
            last_stride=architecture.last_stride,
            size_px=architecture.size_px,
            patch_stride=architecture.patch_stride,
            drop_path=architecture.drop_path,
        )
        if architecture.normalisation == "aibn":
            adapt_norms(self.backbone, group=architecture.batch_norm_group)
        if architecture.attention is not None:
            settings = architecture.attention_settings or {}
            add_attention(self.backbone, name=architecture.attention, after=architecture.attention_after, **settings)
        for after in architecture.camera_norms:
            add_camera_norm(self.backbone, after=after, cameras=architecture.cameras, by=architecture.camera_norm_by)
        self.pool = pooling(architecture.pooling, power=architecture.gem_power, network=self.backbone)
        self.parts = getattr(self.backbone, "parts", 1)
        self.neck = nn.BatchNorm1d(self.parts * width)
        group_norms(self, group=architecture.batch_norm_group)
        self.neck.bias.requires_grad_(False)

    @property
    def dimension(self) -> int:
        """The length of an embedding."""
        return self.neck.num_features

    def size_of(self, images: Shaped[np.ndarray | Tensor, "n h w 3"]) -> tuple[int, int]:
        """Return height and width that images are to be brought to: the network's, or their own where any will do."""
        return self.architecture.size_px or (int(images.shape[1]), int(images.shape[2]))

    def forward(
        self,
        images: Float[Tensor, "b 3 h w"],
        cameras: Int64[Tensor, "b"] | None = None,
        convert_to: Int64[Tensor, "b"] | None = None,
    ) -> Features:
        """Return float32 features of normalised images; inside autocast only the backbone is cast.

        Args:
            images: normalised.
            cameras: of the images, for a network with a camera norm; see `CameraNorm`.
            convert_to: the cameras whose style the images are to take on there.
        """
        set_cameras(self.backbone, cameras, convert_to)
        maps = self.backbone(images)
        with torch.autocast(images.device.type, enabled=False):
            pooled = self.pool(maps).flatten(1)
            necked = self.neck(pooled)
        parts = (len(images), self.parts, -1)
        before = self.architecture.embedding == "before_neck"
        return Features(pooled.view(parts), necked.view(parts), before)


def new_embedder(architecture: Architecture, *, seed: int) -> Embedder:
    """Build an embedder with random weights of this seed, leaving torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Embedder(architecture)


def save_embedder(embedder: Embedder, path: Path, description: Description | None = None) -> None:
    """Write weights and description to a safetensors file, atomically; of the architecture alone without the latter."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in embedder.state_dict().items()}
    described = description or Description(architecture=embedder.architecture)
    with atomic_file(path) as temporary:
        save_file(state, temporary, metadata=described.metadata())


def load_embedder(path: Path) -> Embedder:
    """Read the network that `save_embedder` wrote; on the CPU, in evaluation mode.

    Raises:
        ValueError: where the file is missing, is not safetensors, or holds another architecture's weights.
    """
    return load_described(path)[0]


def load_described(path: Path) -> tuple[Embedder, Description]:
    """Read the network that `save_embedder` wrote, and what the file tells beside; as `load_embedder`."""
    if not path.is_file():
        raise ValueError(f"{path}: no such model; run `dvc repro` to make it")
    try:
        with safe_open(path, framework="pt") as file:
            description = Description.of_metadata(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path}: not an embedder written by this pipeline ({error}); remove it and rerun") from error
    embedder = new_embedder(description.architecture, seed=0)
    try:
        embedder.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path}: its weights do not fit {description.architecture}: {error}") from error
    return embedder.eval(), description


def load_embedders(folder: Path) -> list[Embedder]:
    """Read every model*.safetensors of a folder, in the order of their names.

    Raises:
        ValueError: where there is none, and as `load_embedder`.
    """
    paths = sorted(folder.glob("model*.safetensors"))
    if not paths:
        raise ValueError(f"{folder}: expected model*.safetensors, found none; run `dvc repro` to make them")
    return [load_embedder(path) for path in paths]
