"""The enterprise registry as a toy: tax code, name, legal representative, status."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from events.errors import Refused

Status = Literal["active", "suspended", "dissolved", "bankrupt"]


class Registry:
    """Keeps enterprises in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._books = sqlite3.connect(folder / "registry.db", isolation_level=None, check_same_thread=False)
        self._books.execute(
            "CREATE TABLE IF NOT EXISTS enterprises (tax_code TEXT PRIMARY KEY, name TEXT, status TEXT, "
            "representative TEXT, role TEXT, since TEXT)"
        )

    def close(self) -> None:
        """Close the books."""
        self._books.close()

    def enter(self, tax_code: str, name: str, representative: str, now: datetime, status: Status = "active") -> None:
        """Enter an enterprise, or change what is entered."""
        since = now.astimezone(UTC).isoformat()
        self._books.execute(
            "INSERT OR REPLACE INTO enterprises VALUES (?, ?, ?, ?, 'legal-representative', ?)",
            (tax_code, name, status, representative, since),
        )

    def look_up(self, tax_code: str) -> dict[str, Any]:
        """What is entered.

        Raises:
            Refused: 404.
        """
        names = ("tax_code", "name", "status", "representative", "role", "since")
        query = "SELECT tax_code, name, status, representative, role, since FROM enterprises WHERE tax_code = ?"
        row = self._books.execute(query, (tax_code,)).fetchone()
        if row is None:
            raise Refused(
                "enterprise-unknown",
                found="no such tax code",
                expected="one entered here",
                remedy="check it",
                status=404,
            )
        return dict(zip(names, row, strict=True))
