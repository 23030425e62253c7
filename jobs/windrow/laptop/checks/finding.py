"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The result of one check; `cure` says what to do, and is empty if all is well."""

    subject: str
    found: str
    cure: str = ""

    @property
    def well(self) -> bool:
        """True if the user has nothing to do."""
        return not self.cure
