"""Settings of the sync service alone."""

from typing import Any

from environs import Env, validate

CONFLICTS = ("merge", "reject")


def load(env: Env) -> dict[str, Any]:
    """Read them."""
    return {
        "SYNC_CONFLICTS": env.str("SYNC_CONFLICTS", "merge", validate=validate.OneOf(CONFLICTS)),
    }
