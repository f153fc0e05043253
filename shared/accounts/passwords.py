"""Argon2id hashing of passwords (docs/api.md, "Passwords")."""

from threading import BoundedSemaphore
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION, Type
from flask import Flask, current_app
from marshmallow import ValidationError
from sqlalchemy import select
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from shared.database.base import db
from shared.models import User
from shared.observability import metrics
from shared.web.errors import Fault, Unavailable
from shared.web.schemas import Length, Text, normalize

MIN_LENGTH, MAX_LENGTH = 8, 128
#: A password of `MAX_LENGTH` characters has at most so many in the longest of Unicode's normal forms.
MAX_SENT = 4 * MAX_LENGTH

#: How long a password waits for its turn to be hashed.
HASH_QUEUE_TIMEOUT_S = 5

#: Salt and digest that no password fits.
DECOY = "$" + "A" * 22 + "$" + "A" * 43
#: Accounts that are looked at for the parameters that are in use.
SAMPLE = 1000

#: Those that attackers try first. What is too short is refused for that already.
COMMON = frozenset(word for word in FREQUENCY_LISTS["passwords"] if len(word) >= MIN_LENGTH)


class Hashing:
    """Hashes and verifies, a bounded number at a time: each takes the memory of `ARGON2_MEMORY_KIB`."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.hasher = PasswordHasher(
            memory_cost=config["ARGON2_MEMORY_KIB"],
            time_cost=config["ARGON2_PASSES"],
            parallelism=config["ARGON2_LANES"],
            type=Type.ID,
        )
        lanes, memory, passes = (
            config["ARGON2_LANES"],
            self.hasher.memory_cost,
            self.hasher.time_cost,
        )
        self.in_use = {f"$argon2id$v={ARGON2_VERSION}$m={memory},t={passes},p={lanes}"}
        self.sampled = False
        self.turns = BoundedSemaphore(config["HASHES_AT_ONCE"])

    def __enter__(self) -> PasswordHasher:
        if not self.turns.acquire(timeout=HASH_QUEUE_TIMEOUT_S):
            raise Unavailable("Too many logins at once. Try again shortly.")
        metrics.PASSWORDS.inc()
        return self.hasher

    def __exit__(self, *_: object) -> None:
        self.turns.release()

    def parameters_in_use(self) -> set[str]:
        """Return the configured parameters, those of a sample of accounts, and those seen since."""
        if not self.sampled:
            with db.session.begin():
                sample = db.session.scalars(
                    select(User.password).where(User.password.is_not(None)).limit(SAMPLE)
                )
                self.in_use.update(parameters(stored) for stored in sample if stored)
            self.sampled = True
        return self.in_use


def parameters(hashed: str) -> str:
    """Return the part of an encoded hash before its salt: all that the work of verifying depends on."""
    return hashed.rsplit("$", 2)[0]


def fits(hasher: PasswordHasher, hashed: str, password: str) -> bool:
    """Return whether `password` is that of an encoded hash."""
    try:
        return hasher.verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return False


def init_app(app: Flask) -> None:
    """Set the parameters that the service was configured with."""
    app.extensions["hashing"] = Hashing(app.config)


def hash_password(password: str) -> str:
    """Return the Argon2id hash of `password`, in its encoded form. Raises `Unavailable`."""
    with current_app.extensions["hashing"] as hasher:
        hashed: str = hasher.hash(password)
    return hashed


def verify_password(stored: str | None, password: str) -> bool:
    """Return whether `password` fits the `stored` hash; with none it does not.

    A wrong password costs one verification with each set of parameters that is in use, so that its
    time does not tell an account from none, whenever the account's hash was made. Raises
    `Unavailable`.
    """
    hashing: Hashing = current_app.extensions["hashing"]
    own = {parameters(stored)} if stored else set()
    hashing.in_use |= own
    with hashing as hasher:
        if stored and fits(hasher, stored, password):
            return True
        for others in hashing.parameters_in_use() - own:
            fits(hasher, others + DECOY, password)
    return False


def is_outdated(stored: str) -> bool:
    """Return whether the parameters have been raised since this hash was made."""
    outdated: bool = current_app.extensions["hashing"].hasher.check_needs_rehash(stored)
    return outdated


class Password(Text):
    """A password as it is compared: in NFC, so that two keyboards can type the same one."""

    def __init__(self, *checks: Length, **kwargs: Any) -> None:
        super().__init__(MAX_LENGTH, *checks, max_sent=MAX_SENT, **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        return normalize(super()._deserialize(value, *args, **kwargs))


class NewPassword(Password):
    """A password that somebody may choose: long enough, and not one of the most common."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(Length(min=MIN_LENGTH), **kwargs)

    def _validate(self, value: Any) -> None:
        super()._validate(value)
        if value.lower() in COMMON:
            raise ValidationError(
                Fault("This password is one of the most common. Choose another.", "too_common")
            )
