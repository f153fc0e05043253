"""What stands for e-mails, codes and the like where they are not to be read."""

import hashlib


def digest(*parts: str) -> str:
    """Return what stands for `parts` in the tables: 64 hexadecimal digits."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
