"""The loss of a training run: a weighted sum of terms, chosen by name from a plain dict."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32
from torch import Tensor, nn

from reidlib.labels.numbering import separate_outliers
from reidlib.losses.camera_adversary import CameraAdversary
from reidlib.losses.camera_classifiers import CameraClassifiers
from reidlib.losses.camera_proxies import CameraProxies
from reidlib.losses.centre import Centre
from reidlib.losses.classifier import Classifier
from reidlib.losses.cluster_memory import ClusterMemory
from reidlib.losses.hybrid_memory import HybridMemory
from reidlib.losses.instance import Instance
from reidlib.losses.metric_pairs import MetricPairs
from reidlib.losses.queue_memory import QueueMemory
from reidlib.losses.teacher import Teacher
from reidlib.losses.term import Batch, EpochStart, Term
from reidlib.losses.triplet import Triplet
from reidlib.settings import Epochs, NotNegative, arguments_of_each

TERMS: dict[str, type[Term]] = {
    "camera_adversary": CameraAdversary,
    "camera_classifiers": CameraClassifiers,
    "camera_proxies": CameraProxies,
    "centre": Centre,
    "classifier": Classifier,
    "cluster_memory": ClusterMemory,
    "hybrid_memory": HybridMemory,
    "instance": Instance,
    "metric_pairs": MetricPairs,
    "queue_memory": QueueMemory,
    "teacher": Teacher,
    "triplet": Triplet,
}


class TotalLoss(nn.Module):
    """The weighted sum of terms.

    Attributes:
        terms: by name.
        weights: of each term, and the epoch (from 0) from which on it counts.
    """

    def __init__(
        self,
        settings: Mapping[str, Mapping[str, Any] | None],
        *,
        where: str = "loss",
        teacher: Float[np.ndarray, "n width"] | None = None,
    ) -> None:
        """Build the terms.

        Args:
            settings: for each term its settings, `weight` (1) and `from_epoch` (0) among them; None leaves it out.
            where: the key of params.yaml that holds them, for messages.
            teacher: embeddings of the training images by another network, for the terms that learn from it.

        Raises:
            ValueError: where there is no term, or settings do not fit, by their names.
        """
        super().__init__()
        self.terms, self.weights = nn.ModuleDict(), {}
        for name, values in settings.items():
            if name not in TERMS:
                raise ValueError(f"{where}.{name}: expected a term of the loss among {', '.join(sorted(TERMS))}")
            if values is not None:
                place = f"{where}.{name}"
                own, self.weights[name] = arguments_of_each(values, of=[TERMS[name], _weight], where=place)
                self.terms[name] = TERMS[name](**own)
        if not self.terms:
            raise ValueError(f"{where}: expected at least one term of the loss, found none")
        if teacher is not None:
            for term in self._terms():
                term.teach(teacher)

    @property
    def views(self) -> int:
        """How many views of each image a batch must hold."""
        return max(term.views for term in self._terms())

    def _terms(self) -> Iterator[Term]:
        yield from self.terms.values()  # type: ignore[misc] # ModuleDict knows modules only

    def classes(self, labels: Int32[np.ndarray, "n"]) -> Int32[np.ndarray, "n"]:
        """Return the labels to train on: outliers as clusters of their own where a term wants them so."""
        wanted = any(term.outliers_are_classes for term in self._terms())
        return separate_outliers(labels).astype(np.int32) if wanted else labels

    def begin(self, start: EpochStart) -> None:
        """Make every term ready for an epoch."""
        for term in self._terms():
            term.begin(start)
        self.to(start.device)

    def forward(self, batch: Batch) -> Float32[Tensor, ""]:
        """Return the weighted sum of the terms' losses."""
        total = batch.first.pooled.new_zeros((), dtype=torch.float32)
        for name, term in self.terms.items():
            weight = self.weights[name]["weight"]
            if weight and batch.epoch >= self.weights[name]["from_epoch"]:
                total = total + weight * term(batch)
        return total

    @torch.no_grad()
    def update(self, batch: Batch) -> None:
        """Let every term take in a batch."""
        for term in self._terms():
            term.update(batch)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the terms' parameters for an optimiser, each group with the `factor` of its learning rate."""
        groups = [{"params": list(term.parameters()), "factor": term.rate} for term in self._terms()]
        return [group for group in groups if group["params"]]

    def load(self, saved: Mapping[str, Tensor], device: torch.device) -> None:
        """Take over a state dict whose tensors may be of other shapes than the present ones."""
        for name, tensor in saved.items():
            owner, _, attribute = name.rpartition(".")
            module = self.get_submodule(owner)
            fresh = torch.empty_like(tensor, device=device)
            setattr(module, attribute, nn.Parameter(fresh) if attribute in module._parameters else fresh)
        self.load_state_dict(dict(saved))
        self.to(device)


def _weight(*, weight: NotNegative = 1.0, from_epoch: Epochs = 0) -> None:
    """What every term may be given beside its own settings."""
