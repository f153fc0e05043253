"""Settings of the users service alone."""

from typing import Any

from environs import Env

from shared.config import load_accounts, load_webhooks


def load(env: Env) -> dict[str, Any]:
    """Load and validate this service's settings."""
    return load_accounts(env) | load_webhooks(env)
