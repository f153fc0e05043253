"""The floor of the requests: an empty Flask route, and one that checks a token as little as it can."""

import os
from pathlib import Path

from flask import Flask
from flask_jwt_extended import JWTManager, jwt_required


def create_app() -> Flask:
    """Run under the same gunicorn settings as the services."""
    app = Flask(__name__, static_folder=None)
    app.config.update(
        JWT_ALGORITHM="EdDSA",
        JWT_PUBLIC_KEY=Path(os.environ["JWT_PUBLIC_KEYS_FILE"]).read_text(),
        JWT_DECODE_AUDIENCE="watermelondb-backend",
    )
    JWTManager(app)

    @app.get("/healthz")
    @app.get("/empty")
    def empty() -> dict[str, str]:
        return {}

    @app.get("/checked")
    @jwt_required()
    def checked() -> dict[str, str]:
        return {}

    return app
