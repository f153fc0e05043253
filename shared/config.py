"""Settings common to all services, read from the environment (`.env.example` lists them)."""

import logging
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from environs import Env, ValidationError, validate

from shared.database.urls import check_database_url, check_redis_url
from shared.mail_url import check_mail_url
from shared.providers import read_providers
from shared.receivers import read_receivers

#: What a body may have (docs/api.md, "Conventions"); a push has a limit of its own.
MAX_BODY_BYTES = 64 * 1024
#: OWASP's minimum for Argon2id: 19 MiB, two passes.
MIN_MEMORY_KIB, MIN_PASSES = 19456, 2


def load_passwords(env: Env) -> dict[str, Any]:
    """Return settings of the services that hash passwords."""
    memory = validate.Range(min=MIN_MEMORY_KIB)
    passes = validate.Range(min=MIN_PASSES)
    positive = validate.Range(min=1)
    return {
        "ARGON2_LANES": env.int("ARGON2_LANES", 1, validate=positive),
        "ARGON2_MEMORY_KIB": env.int("ARGON2_MEMORY_KIB", MIN_MEMORY_KIB, validate=memory),
        "ARGON2_PASSES": env.int("ARGON2_PASSES", MIN_PASSES, validate=passes),
        "HASHES_AT_ONCE": env.int("HASHES_AT_ONCE", 4, validate=positive),
    }


def load_mail(env: Env) -> dict[str, Any]:
    """Read the setting by which a service knows whether to write mail."""
    return {"MAIL_URL": env.str("MAIL_URL", "", validate=check_mail_url)}


def load_webhooks(env: Env) -> dict[str, Any]:
    """Read the setting by which a service knows whom to tell what changes."""
    return {"WEBHOOKS_FILE": env.str("WEBHOOKS_FILE", "", validate=read_by(read_receivers))}


def load_accounts(env: Env) -> dict[str, Any]:
    """Read the settings of the services that change accounts."""
    providers = env.str("OIDC_PROVIDERS_FILE", "", validate=read_by(read_providers))
    return load_passwords(env) | load_mail(env) | {"OIDC_PROVIDERS_FILE": providers}


def readable(path: Path) -> None:
    """Refuse a file that cannot be read."""
    if not os.access(path, os.R_OK) or not path.is_file():
        raise ValidationError("The file does not exist or cannot be read.")


def read_by(read: Callable[[str], object]) -> Callable[[str], None]:
    """Return what refuses the path of a TOML file that `read` cannot read, or finds to say something else."""

    def check(path: str) -> None:
        try:
            read(path)
        except (OSError, UnicodeDecodeError) as error:
            raise ValidationError(f"The file cannot be read: {error}") from error
        except tomllib.TOMLDecodeError as error:
            raise ValidationError(f"The file cannot be read as TOML: {error}") from error
        except ValueError as error:
            raise ValidationError(str(error)) from error

    return check


def load(service_settings: Callable[[Env], dict[str, Any]]) -> dict[str, Any]:
    """Read all settings; raise one `EnvValidationError` that names every missing or wrong one."""
    env = Env(eager=False)
    settings = {
        "ACCESS_TOKEN_SECONDS": env.int(
            "ACCESS_TOKEN_SECONDS", 15 * 60, validate=validate.Range(min=1)
        ),
        "DATABASE_URL": env.str("DATABASE_URL", validate=check_database_url),
        "JWT_AUDIENCE": env.str("JWT_AUDIENCE", "watermelondb-backend"),
        "JWT_ISSUER": env.str("JWT_ISSUER", "watermelondb-backend"),
        "JWT_PUBLIC_KEYS_FILE": env.path("JWT_PUBLIC_KEYS_FILE", validate=readable),
        "LOG_LEVEL": env.log_level("LOG_LEVEL", logging.INFO),
        "LOG_SQL": env.bool("LOG_SQL", False),
        "LOG_TEXT": env.bool("LOG_TEXT", False),
        "MAX_CONTENT_LENGTH": MAX_BODY_BYTES,
        "REDIS_URL": env.str("REDIS_URL", "", validate=check_redis_url),
        "SENTRY_DSN": env.str("SENTRY_DSN", ""),
        "SLOW_SQL_MS": env.int("SLOW_SQL_MS", 1000, validate=validate.Range(min=0)),
        "TRACES_URL": env.str("TRACES_URL", ""),
        "TRUSTED_PROXIES": env.int("TRUSTED_PROXIES", 1, validate=validate.Range(min=0)),
    } | service_settings(env)
    env.seal()
    return settings
