"""Argon2id hashing of passwords (docs/api.md, "Passwords")."""

from functools import cached_property
from threading import BoundedSemaphore
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type
from flask import Flask, current_app
from marshmallow import ValidationError
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from shared.problems import Fault, Unavailable
from shared.schemas import Length, Text, normalise

SHORTEST, LONGEST = 8, 128

#: How long a password waits for its turn to be hashed.
PATIENCE_S = 5

#: Those that attackers try first. What is too short is refused for that already.
COMMON = frozenset(word for word in FREQUENCY_LISTS["passwords"] if len(word) >= SHORTEST)


class Hashing:
    """Hashes and verifies, a bounded number at a time: each takes the memory of `ARGON2_MEMORY_KIB`."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.hasher = PasswordHasher(
            memory_cost=config["ARGON2_MEMORY_KIB"],
            time_cost=config["ARGON2_PASSES"],
            parallelism=config["ARGON2_LANES"],
            type=Type.ID,
        )
        self.turns = BoundedSemaphore(config["HASHES_AT_ONCE"])

    def __enter__(self) -> PasswordHasher:
        if not self.turns.acquire(timeout=PATIENCE_S):
            raise Unavailable("Too many logins at once. Try again shortly.")
        return self.hasher

    def __exit__(self, *_: object) -> None:
        self.turns.release()

    @cached_property
    def nobodys(self) -> str:
        """A hash that no password fits, to spend the same time on an unknown e-mail."""
        return self.hasher.hash("")


def init_app(app: Flask) -> None:
    """Set the parameters that the service was configured with."""
    app.extensions["hashing"] = Hashing(app.config)


def hash_password(password: str) -> str:
    """The Argon2id hash of `password`, in its encoded form. Raises `Unavailable`."""
    with current_app.extensions["hashing"] as hasher:
        hashed: str = hasher.hash(password)
    return hashed


def verify_password(stored: str | None, password: str) -> bool:
    """Whether `password` fits; with no `stored` hash it takes the same time and does not.

    Raises `Unavailable`.
    """
    hashing = current_app.extensions["hashing"]
    with hashing as hasher:
        try:
            hasher.verify(stored or hashing.nobodys, password)
        except (VerificationError, InvalidHashError):
            return False
    return stored is not None


def is_outdated(stored: str) -> bool:
    """Whether the parameters have been raised since this hash was made."""
    outdated: bool = current_app.extensions["hashing"].hasher.check_needs_rehash(stored)
    return outdated


class Password(Text):
    """A password as it is compared: in NFC, so that two keyboards can type the same one."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validate=Length(max=LONGEST), **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        return normalise(super()._deserialize(value, *args, **kwargs))


class NewPassword(Password):
    """A password that somebody may choose: long enough, and not one of the most common."""

    def _validate(self, value: Any) -> None:
        super()._validate(value)
        if len(value) < SHORTEST:
            raise ValidationError(Fault(f"Shorter than minimum length {SHORTEST}.", "too_short"))
        if value.lower() in COMMON:
            raise ValidationError(
                Fault("This password is one of the most common. Choose another.", "too_common")
            )
