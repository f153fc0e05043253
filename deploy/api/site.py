"""The pages that go with the API: `python -m deploy.api.site DIRECTORY` writes them for the gateway."""

import json
import sys
from importlib.resources import files
from pathlib import Path

from deploy.api.openapi import describe

#: What the pages may load; the playground may ask any backend (`?backend=…`).
POLICY = (
    "default-src 'self'; connect-src *; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " frame-ancestors 'none'"
)

PLAYGROUND = Path(__file__).parent.parent.parent / "client/playground"

INDEX = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>WatermelonDB backend: the API</title>
<link rel="icon" href="favicon-32x32.png">
<link rel="stylesheet" href="swagger-ui.css">
<div id="api"></div>
<script src="swagger-ui-bundle.js"></script>
<script src="start.js"></script>
</html>
"""

START = """SwaggerUIBundle({
  url: '../v1/openapi.json',
  dom_id: '#api',
  deepLinking: true,
  docExpansion: 'list',
  defaultModelsExpandDepth: 0,
  persistAuthorization: false,
  validatorUrl: null,
})
"""

#: Of Swagger UI, from the package that carries it.
ASSETS = ("favicon-32x32.png", "swagger-ui.css", "swagger-ui-bundle.js")


def pages() -> dict[str, bytes]:
    """Every file by its path: the description of the API, and the page that shows it."""
    swagger = files("flask_swagger_ui") / "dist"
    return {
        "v1/openapi.json": json.dumps(describe()).encode(),
        "docs/index.html": INDEX.encode(),
        "docs/start.js": START.encode(),
        **{f"docs/{name}": (swagger / name).read_bytes() for name in ASSETS},
    }


def playground() -> dict[str, bytes]:
    """What `make run` serves besides: two devices in a page."""
    return {
        "index.html": (PLAYGROUND / "index.html").read_bytes(),
        "playground.css": (PLAYGROUND / "playground.css").read_bytes(),
        "playground.js": (PLAYGROUND / "bundle.js").read_bytes(),
    }


def write(directory: Path) -> None:
    """Write them below `directory`."""
    for path, content in pages().items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
