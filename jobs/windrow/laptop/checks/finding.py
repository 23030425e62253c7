"""Define the result of a check of make doctor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The result of one check; `cure` says what the user should do, and is empty if all is well."""

    subject: str
    found: str
    cure: str = ""

    @property
    def well(self) -> bool:
        """Return True if the user has nothing to do."""
        return not self.cure
