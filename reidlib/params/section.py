"""What every block of params.yaml is."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A block of params.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def values(self) -> dict[str, Any]:
        """Return what is set, as plain Python values to be passed on by keyword."""
        return self.model_dump(exclude_none=True)
