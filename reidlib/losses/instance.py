"""Instance discrimination: two views of an image attract each other, all other images repel."""

from jaxtyping import Float32
from torch import Tensor

from reidlib.losses.softmax import instance_discrimination
from reidlib.losses.term import Batch, Term
from reidlib.settings import Positive


class Instance(Term):
    """Tell the images of a batch apart by their embeddings; see `losses.instance_discrimination`."""

    views = 2

    def __init__(self, *, temperature: Positive = 0.1) -> None:
        """Keep the settings.

        Args:
            temperature: of the softmax over cosines.
        """
        super().__init__()
        self.temperature = temperature

    def forward(self, batch: Batch) -> Float32[Tensor, ""]:
        """Return the mean loss."""
        assert batch.second is not None
        return instance_discrimination(batch.first.embeddings, batch.second.embeddings, temperature=self.temperature)
