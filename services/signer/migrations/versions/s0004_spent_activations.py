"""one table of spent activations."""

import sqlalchemy as sa
from alembic import op

revision = "8066c2c806b0"
down_revision = "9e8c73331f3c"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; what was spent before, whatever for, stays spent."""
    op.create_table(
        "signer_spent_activations",
        sa.Column("jti", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("jti"),
    )
    op.execute(
        "INSERT INTO signer_spent_activations (jti) SELECT jti FROM signer_redemptions "
        "UNION SELECT jti FROM signer_batches UNION SELECT jti FROM signer_authorizations"
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("signer_spent_activations")
