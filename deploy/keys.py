"""Make or replace the key that signs tokens: `python -m deploy.keys DIRECTORY` (`make keys`).

`private.pem` is for the auth service alone, `public.pem` for all services. When there is a pair already,
a new one takes its place: `public.pem` then holds the new key and all older ones, so that no token in
the field stops working. Remove an old key from it once its last refresh token has expired.
"""

import os
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

PRIVATE_KEY, PUBLIC_KEYS = "private.pem", "public.pem"


def make_keys(directory: Path) -> None:
    """Write a new pair into `directory`, the private key readable by its owner only."""
    directory.mkdir(parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    older = directory / PUBLIC_KEYS
    # The public key first: nothing may be signed that nobody can verify.
    replace(older, public + (older.read_bytes() if older.exists() else b""), 0o644)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    replace(directory / PRIVATE_KEY, private, 0o600)


def replace(path: Path, content: bytes, mode: int) -> None:
    """Put `content` at `path` at once, at no time with more rights than `mode`."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
        file.write(content)
    new.rename(path)


if __name__ == "__main__":
    make_keys(Path(sys.argv[1]))
    print(
        f"New signing key in {sys.argv[1]}. Older keys still verify. Restart the auth service to use it."
    )
