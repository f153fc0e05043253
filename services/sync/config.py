"""Settings of the sync service alone."""

from typing import Any

from environs import Env, validate

from shared.config import MAX_BODY_BYTES, load_mail, load_webhooks

CONFLICTS = ("merge", "reject")


def load(env: Env) -> dict[str, Any]:
    """Load and validate this service's settings."""
    shared = load_mail(env) | load_webhooks(env)
    return shared | {
        "MAX_PUSH_BYTES": env.int(
            "MAX_PUSH_BYTES", 64 * 2**20, validate=validate.Range(min=MAX_BODY_BYTES)
        ),
        "MAX_PUSH_RECORDS": env.int("MAX_PUSH_RECORDS", 500_000, validate=validate.Range(min=1)),
        "TOMBSTONE_DAYS": env.int("TOMBSTONE_DAYS", 90, validate=validate.Range(min=1)),
        "SPACE_MAX_MEMBERS": env.int("SPACE_MAX_MEMBERS", 100, validate=validate.Range(min=1)),
        "SYNC_CONFLICTS": env.str("SYNC_CONFLICTS", "merge", validate=validate.OneOf(CONFLICTS)),
    }
