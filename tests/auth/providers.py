"""Services that trust the tests' own OpenID providers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.api import Api, Device
from tests.servers.issuer import Issuer, providers_file


@contextmanager
def trusting(
    directory: Path, settings: dict[str, str] | None = None, **issuers: Issuer
) -> Iterator[Api]:
    """All three services, with these providers and other settings of their own."""
    from services import embedded

    file = directory / "providers.toml"
    file.write_text(providers_file(**issuers))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OIDC_PROVIDERS_FILE", str(file))
        for name, value in (settings or {}).items():
            patch.setenv(name, value)
        yield Api(embedded.create_app())


def sign_in(api: Api, id_token: str, provider: str = "one", **body: Any) -> Any:
    return api.post("/auth/oidc", {"provider": provider, "idToken": id_token, **body})


def signed_in(
    api: Api, id_token: str, email: str = "", provider: str = "one", **body: Any
) -> Device:
    answer = sign_in(api, id_token, provider, **body)
    assert answer.status_code in (200, 201), answer.text
    return Device(api, email, answer.json)
