"""The first tables."""

import sqlalchemy as sa
from alembic import op

__all__ = ["upgrade"]

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "study",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("plan_hash", sa.String(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
    )
    op.create_table(
        "accounts",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("password", sa.String()),
        sa.Column("invitation", sa.String()),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("locked_until", sa.String(), nullable=False),
        sa.Column("shown_question", sa.String(), nullable=False),
        sa.Column("shown_at", sa.String(), nullable=False),
        sa.Column("rested", sa.Integer(), nullable=False),
    )
    op.create_table(
        "logins",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("token", sa.String(), nullable=False, unique=True),
        sa.Column("account", sa.String(), sa.ForeignKey("accounts.name"), nullable=False),
        sa.Column("since", sa.String(), nullable=False),
        sa.Column("seen", sa.String(), nullable=False),
        sa.Column("ended", sa.String(), nullable=False),
        sa.Column("display", sa.String(), nullable=False),
    )
    op.create_index("ix_logins_account", "logins", ["account"])
    op.create_table(
        "answers",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("reader", sa.String(), sa.ForeignKey("accounts.name"), nullable=False),
        sa.Column("session", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("case", sa.String(), nullable=False),
        sa.Column("block", sa.String(), nullable=False),
        sa.Column("question", sa.String(), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.Column("other", sa.String(), nullable=False),
        sa.Column("shown_at", sa.String(), nullable=False),
        sa.Column("answered_at", sa.String(), nullable=False),
        sa.Column("client_ms", sa.Integer(), nullable=False),
        sa.Column("server_ms", sa.Integer(), nullable=False),
        sa.Column("login", sa.Integer(), sa.ForeignKey("logins.number"), nullable=False),
        sa.UniqueConstraint("reader", "case", "question", name="one_answer"),
    )
    op.create_index("ix_answers_reader", "answers", ["reader", "position"])
    op.create_table(
        "revisions",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("reader", sa.String(), nullable=False),
        sa.Column("case", sa.String(), nullable=False),
        sa.Column("question", sa.String(), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.Column("answered_at", sa.String(), nullable=False),
        sa.Column("removed_at", sa.String(), nullable=False),
    )
