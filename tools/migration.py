"""Writes a new migration from the model: `python -m tools.migration SERVICE "what changes"`."""

from __future__ import annotations

import asyncio
import importlib
import sys
import tempfile
from pathlib import Path

from services.runtime.database import Database, Schema
from services.runtime.migrate import upgrade, write_revision


def schema_of(service: str) -> Schema:
    """The schema a service declares: `services.runtime.tables.schema` or `services.<service>.adapters.store.schema`."""
    place = "services.runtime.tables" if service == "runtime" else f"services.{service}.adapters.store"
    found: Schema = importlib.import_module(place).schema
    return found


async def main(service: str, message: str) -> None:
    """Upgrade an empty SQLite database to the last migration and write what is missing."""
    schema = schema_of(service)
    schema.versions.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite+aiosqlite:///{Path(folder) / 'empty.db'}")
        await upgrade(database, [schema])
        await write_revision(database, schema, message)
        await database.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit('usage: python -m tools.migration SERVICE "what changes"')
    asyncio.run(main(sys.argv[1], sys.argv[2]))
