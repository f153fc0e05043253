"""The pages that go with the API: `python -m services.pages.site DIRECTORY` writes them for the gateway."""

import json
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path

from services.openapi import describe

#: What the pages may load; the playground may ask any backend (`?backend=…`).
POLICY = (
    "default-src 'self'; connect-src *; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " frame-ancestors 'none'"
)

DOCS = Path(__file__).parent / "docs"
ACCOUNT = Path(__file__).parent / "account"

#: Of Swagger UI, from the package that carries it.
ASSETS = ("favicon-32x32.png", "swagger-ui.css", "swagger-ui-bundle.js")


@cache
def pages() -> dict[str, bytes]:
    """Return every file by its path: the description of the API, its page, and those that mails link to."""
    swagger = files("flask_swagger_ui") / "dist"
    return {
        "v1/openapi.json": json.dumps(describe()).encode(),
        **{f"docs/{page.name}": page.read_bytes() for page in DOCS.iterdir()},
        **{f"account/{page.name}": page.read_bytes() for page in ACCOUNT.iterdir()},
        **{f"docs/{name}": (swagger / name).read_bytes() for name in ASSETS},
    }


def write(directory: Path) -> None:
    """Write the pages below `directory`."""
    for path, content in pages().items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
