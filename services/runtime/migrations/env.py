"""Alembic's entry: the connection and the model come from services.runtime.migrate."""

from alembic import context

config = context.config
metadata = config.attributes["metadata"]

context.configure(
    connection=config.attributes["connection"],
    target_metadata=metadata,
    version_table=config.attributes["version_table"],
    render_as_batch=True,
    include_object=lambda item, name, kind, reflected, other: kind != "table" or name in metadata.tables,
)
with context.begin_transaction():
    context.run_migrations()
