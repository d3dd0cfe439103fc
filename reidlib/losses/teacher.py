"""Distillation from a larger network: the images of a batch are to resemble each other as they do for the teacher."""

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from reidlib.batches.residence import on_device
from reidlib.losses.softmax import soft_cross_entropy
from reidlib.losses.term import Batch, Term
from reidlib.settings import Positive


class Teacher(Term):
    """Cross-entropy between softmaxes over the cosines of an image to the batch's others, the teacher's as target.

    CompRess [Koohpayegani et al., NeurIPS 2020, arXiv:2010.14713], where student and teacher each compare images in
    their own space, so that the widths may differ. Two deviations: the batch's other images take the place of a memory
    bank, and cross-entropy that of the divergence, which has the same gradient.

    Attributes:
        embeddings: float32 (n, width), unit-norm, of all training images; not part of checkpoints.
    """

    embeddings: Tensor

    def __init__(self, *, temperature: Positive = 0.04) -> None:
        """Hold no embeddings yet.

        Args:
            temperature: of both softmaxes.
        """
        super().__init__()
        self.temperature = temperature
        self.register_buffer("embeddings", torch.zeros(0, 0), persistent=False)

    def teach(self, embeddings: Float[np.ndarray, "n width"]) -> None:
        """Take the teacher's unit-norm embeddings of all training images, in the order of the table."""
        self.embeddings = torch.from_numpy(np.array(embeddings, np.float32))  # a copy: memory maps are read-only

    def forward(self, batch: Batch) -> Float32[Tensor, ""]:
        """Return the mean loss; 0 for a single image.

        Raises:
            ValueError: there are no embeddings of a teacher.
        """
        if not len(self.embeddings):
            raise ValueError("teacher: expected the embeddings of a teacher, found none; name a model to learn from")
        embeddings = batch.first.embeddings.float()
        if len(embeddings) < 2:
            return embeddings.sum() * 0
        with torch.autocast(embeddings.device.type, enabled=False):
            taught = self.embeddings[on_device(self.embeddings, batch.rows)]
            student, teacher = (_others(each) / self.temperature for each in (embeddings, taught))
            return soft_cross_entropy(student, teacher)


def _others(embeddings: Float32[Tensor, "b width"]) -> Float32[Tensor, "b b"]:
    """Return the cosines between the rows, -inf to themselves."""
    itself = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
    return (embeddings @ embeddings.T).masked_fill(itself, -torch.inf)
