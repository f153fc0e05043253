"""Argon2id hashing of passwords (API.md, "Passwords")."""

import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

#: OWASP's minimum for Argon2id: 19 MiB, two passes, one lane.
hasher = PasswordHasher(memory_cost=19456, time_cost=2, parallelism=1, type=Type.ID)


def normalise(password: str) -> str:
    """NFC, so that the same word typed on two keyboards is the same password."""
    return unicodedata.normalize("NFC", password)


def hash_password(password: str) -> str:
    """The Argon2id hash of `password`, in its encoded form."""
    return hasher.hash(normalise(password))


@cache
def nobodys_hash() -> str:
    """A hash that no password fits, to spend the same time on an unknown e-mail."""
    return hasher.hash(normalise("nobody"))


def verify_password(stored: str | None, password: str) -> bool:
    """Whether `password` fits; with no `stored` hash it takes the same time and does not."""
    try:
        hasher.verify(stored or nobodys_hash(), normalise(password))
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None
