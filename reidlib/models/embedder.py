"""The network of every stage: backbone, pooling, BN neck, unit norm; and the file it is kept in."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from reidlib.artifacts import atomic_file
from reidlib.models.backbones import backbone
from reidlib.models.grouped_norm import group_norms
from reidlib.models.pooling import POOLINGS


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build an `Embedder`."""

    backbone: str
    last_stride: int
    pooling: str
    gem_power: float
    batch_norm_group: int


class Embedder(nn.Module):
    """Images to unit-norm embeddings: backbone, pooling, BN neck [Luo et al., CVPRW 2019, arXiv:1903.07071].

    The neck is a batch normalisation whose bias is fixed at zero; embeddings are taken after it, in training and in
    evaluation, as the cluster-contrast family does [Dai et al., arXiv:2103.11568]. Batch statistics are taken per
    group of samples, so that a recipe does not depend on the number of devices (`reidlib.models.grouped_norm`).
    """

    def __init__(self, architecture: Architecture) -> None:
        """Build with random weights, drawn from torch's global generator."""
        super().__init__()
        self.architecture = architecture
        self.backbone = backbone(architecture.backbone, last_stride=architecture.last_stride)
        self.pool = POOLINGS[architecture.pooling](architecture.gem_power)
        self.neck = nn.BatchNorm1d(int(str(self.backbone.num_features)))
        group_norms(self, group=architecture.batch_norm_group)
        self.neck.bias.requires_grad_(False)

    @property
    def dimension(self) -> int:
        """The length of an embedding."""
        return int(self.neck.num_features)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Return unit-norm float32 embeddings of normalised images."""
        pooled: Tensor = self.pool(self.backbone(images))
        return functional.normalize(self.neck(pooled).float(), dim=1)


def new_embedder(architecture: Architecture, *, seed: int) -> Embedder:
    """Build an embedder with random weights of this seed, leaving torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Embedder(architecture)


def save_embedder(embedder: Embedder, path: Path) -> None:
    """Write weights and architecture to a safetensors file, atomically."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in embedder.state_dict().items()}
    with atomic_file(path) as temporary:
        save_file(state, temporary, metadata={"architecture": json.dumps(asdict(embedder.architecture))})


def load_embedder(path: Path) -> Embedder:
    """Read what `save_embedder` wrote; on the CPU, in evaluation mode.

    Raises:
        ValueError: where the file is missing, is not safetensors, or holds another architecture's weights.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such model; run `dvc repro` to make it")
    try:
        with safe_open(path, framework="pt") as file:
            architecture = Architecture(**json.loads((file.metadata() or {})["architecture"]))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not an embedder written by this pipeline ({error}); remove it and rerun") from error
    embedder = new_embedder(architecture, seed=0)
    try:
        embedder.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path}: its weights do not fit {architecture}: {error}") from error
    return embedder.eval()


def load_embedders(folder: Path) -> list[Embedder]:
    """Read every model*.safetensors of a folder, in the order of their names.

    Raises:
        ValueError: where there is none, and as `load_embedder`.
    """
    paths = sorted(folder.glob("model*.safetensors"))
    if not paths:
        raise ValueError(f"{folder}: expected model*.safetensors, found none; run `dvc repro` to make them")
    return [load_embedder(path) for path in paths]
