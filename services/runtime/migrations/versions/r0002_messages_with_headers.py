"""Messages of the outbox carry headers; who waits on a retry topic; which dead letters were given again."""

import json

import sqlalchemy as sa
from alembic import op

import services.runtime.database

revision = "ee051b55ef6f"
down_revision = "b954bb9921d9"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "runtime_redriven",
        sa.Column("letter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", services.runtime.database.Instant(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("letter"),
    )
    op.create_table(
        "runtime_waiting",
        sa.Column("n", BIG, autoincrement=True, nullable=False),
        sa.Column("consumer", sa.String(length=40), nullable=False),
        sa.Column("event", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("due", services.runtime.database.Instant(timezone=True), nullable=False),
        sa.Column("why", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("n"),
        sa.UniqueConstraint("consumer", "event", name="runtime_waiting_once"),
    )
    op.create_index("runtime_waiting_by_key", "runtime_waiting", ["consumer", "key", "n"], unique=False)
    op.add_column("runtime_outbox", sa.Column("headers", sa.Text(), nullable=False, server_default="{}"))
    _split()
    with op.batch_alter_table("runtime_outbox", table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.alter_column("headers", existing_type=sa.Text(), existing_nullable=False, server_default=None)


def _split() -> None:
    """Events kept as one JSON object become attributes and data; dead letters stay as they are."""
    outbox = sa.table(
        "runtime_outbox",
        sa.column("offset", sa.BigInteger),
        sa.column("topic", sa.String),
        sa.column("headers", sa.Text),
        sa.column("body", sa.LargeBinary),
    )
    conn = op.get_bind()
    after = 0
    while True:
        query = sa.select(outbox.c.offset, outbox.c.body).where(
            outbox.c.offset > after, outbox.c.topic.not_like("%.dlq")
        )
        rows = conn.execute(query.order_by(outbox.c.offset).limit(500)).all()
        if not rows:
            return
        for row in rows:
            after = row.offset
            event = json.loads(bytes(row.body))
            data = json.dumps(event.pop("data"), ensure_ascii=False, separators=(",", ":")).encode()
            headers = {"content-type": event.pop("datacontenttype")}
            headers |= {f"ce_{name}": str(value) for name, value in event.items()}
            change = outbox.update().where(outbox.c.offset == row.offset)
            conn.execute(change.values(headers=json.dumps(headers, ensure_ascii=False), body=data))


def downgrade() -> None:
    """Take back."""
    raise NotImplementedError("messages are not put together again: restore the backup made before the upgrade")
