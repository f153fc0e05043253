"""Settings of the sync service alone."""

from typing import Any

from environs import Env, validate

CONFLICTS = ("merge", "reject")


def load(env: Env) -> dict[str, Any]:
    """Read them."""
    return {
        "TOMBSTONE_DAYS": env.int("TOMBSTONE_DAYS", 90, validate=validate.Range(min=1)),
        "SYNC_CONFLICTS": env.str("SYNC_CONFLICTS", "merge", validate=validate.OneOf(CONFLICTS)),
    }
