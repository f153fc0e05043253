"""Make the key pair that signs and verifies tokens: `python -m deploy.keys DIRECTORY`.

Writes `private.pem` (for the auth service alone) and `public.pem` (for all services) unless they are
there already.
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


def make_keys(directory: Path) -> None:
    """Write the pair into `directory`, the private key readable by its owner only."""
    private, public = directory / "private.pem", directory / "public.pem"
    if private.exists():
        return
    directory.mkdir(parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    # Last, and never readable by others even for a moment: a pair is whole when this file is there.
    with open(os.open(private, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


if __name__ == "__main__":
    make_keys(Path(sys.argv[1]))
