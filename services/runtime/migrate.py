"""Brings a database to the present form, room by room, with Alembic; every room has its own history."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from services.runtime.database import Database, Schema

_TURN = 0x6D696772617465
_HERE = Path(__file__).parent / "migrations"


def _config(schema: Schema, connection: sa.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.set_main_option("version_locations", str(schema.versions))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["metadata"] = schema.metadata
    config.attributes["version_table"] = f"{schema.name}_version"
    return config


async def upgrade(database: Database, schemas: Iterable[Schema]) -> None:
    """Run what has not been run yet; processes that start together take turns."""
    async with database.migrating() as conn:
        if not database.sqlite:
            await conn.execute(sa.select(sa.func.pg_advisory_lock(_TURN)))
            await conn.commit()
        for schema in schemas:
            await conn.run_sync(_to_head, schema)
        if not database.sqlite:
            await conn.execute(sa.select(sa.func.pg_advisory_unlock(_TURN)))
            await conn.commit()


def _to_head(connection: sa.Connection, schema: Schema) -> None:
    command.upgrade(_config(schema, connection), "head")


async def differences(database: Database, schema: Schema) -> list[object]:
    """What the tables have that the model has not, and the reverse; empty when they agree."""

    def compare(sync: sa.Connection) -> list[object]:
        own = set(schema.metadata.tables)
        context = MigrationContext.configure(
            sync, opts={"include_object": lambda item, name, kind, *_: kind != "table" or name in own}
        )
        return list(compare_metadata(context, schema.metadata))

    async with database.migrating() as conn:
        return await conn.run_sync(compare)


async def write_revision(database: Database, schema: Schema, message: str) -> None:
    """Write a new migration file from the difference between model and database (for developers)."""
    async with database.migrating() as conn:
        await conn.run_sync(lambda sync: command.revision(_config(schema, sync), message, autogenerate=True))
