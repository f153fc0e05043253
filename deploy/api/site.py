"""The pages that go with the API: `python -m deploy.api.site DIRECTORY` writes them for the gateway."""

import json
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from deploy.api.openapi import describe

#: What the pages may load; the playground may ask any backend (`?backend=…`).
POLICY = (
    "default-src 'self'; connect-src *; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " frame-ancestors 'none'"
)

DOCS = Path(__file__).parent / "docs"
PLAYGROUND = Path(__file__).parent.parent.parent / "client/playground"

#: Of Swagger UI, from the package that carries it.
ASSETS = ("favicon-32x32.png", "swagger-ui.css", "swagger-ui-bundle.js")


def pages() -> dict[str, bytes]:
    """Return every file by its path: the description of the API, and the page that shows it."""
    swagger = files("flask_swagger_ui") / "dist"
    return {
        "v1/openapi.json": json.dumps(describe()).encode(),
        **{f"docs/{page.name}": page.read_bytes() for page in DOCS.iterdir()},
        **{f"docs/{name}": (swagger / name).read_bytes() for name in ASSETS},
    }


def playground() -> dict[str, bytes]:
    """Return what `make run` serves besides while the demo's tables are there: two devices in a page."""
    if not find_spec("shared.models.demo"):
        return {}
    return {
        "index.html": (PLAYGROUND / "index.html").read_bytes(),
        "playground.css": (PLAYGROUND / "playground.css").read_bytes(),
        "playground.js": (PLAYGROUND / "bundle.js").read_bytes(),
    }


def write(directory: Path) -> None:
    """Write the pages below `directory`."""
    for path, content in pages().items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
