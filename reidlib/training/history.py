"""What is kept of the epochs of a run that have ended."""

from dataclasses import dataclass, field

from reidlib.training.plan import Labels


@dataclass
class History:
    """What is known of the epochs that have ended: a row of measures, and an array of labels, for each."""

    curves: list[dict[str, float]] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)
