"""Settings of the auth service alone."""

from typing import Any

from environs import Env, validate

from shared.config import load_passwords, readable

POSITIVE = validate.Range(min=1)


def load(env: Env) -> dict[str, Any]:
    """Load and validate this service's settings."""
    return load_passwords(env) | {
        "JWT_PRIVATE_KEY_FILE": env.path("JWT_PRIVATE_KEY_FILE", validate=readable),
        "REFRESH_REPEAT_SECONDS": env.int("REFRESH_REPEAT_SECONDS", 30, validate=POSITIVE),
        "REFRESH_TOKEN_SECONDS": env.int(
            "REFRESH_TOKEN_SECONDS", 7 * 24 * 60 * 60, validate=POSITIVE
        ),
        "SESSION_SECONDS": env.int("SESSION_SECONDS", 90 * 24 * 60 * 60, validate=POSITIVE),
    }
