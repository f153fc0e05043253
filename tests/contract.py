"""The API's own description, held against every answer that a test gets."""

import re
from functools import cache
from typing import Any

import jsonschema_rs

from services.openapi import describe

Json = dict[str, Any]


@cache
def description() -> Json:
    return describe(is_strict=True)


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    # Names before placeholders: "me" is no id of a user.
    paths = sorted(description()["paths"], key=lambda path: "{" in path)
    return [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), path) for path in paths]


@cache
def _validator(path: str, method: str, status: str, media: str) -> Any:
    responses = description()["paths"][path][method]["responses"]
    assert status in responses, f"{method} {path}: {status} is not described"
    content = responses[status].get("content")
    if content is None:
        return None
    assert media in content, f"{method} {path}: {media} is not described"
    components = {"components": description()["components"]}
    return jsonschema_rs.Draft202012Validator(content[media]["schema"] | components)


def check(method: str, path: str, answer: Any) -> None:
    """An answer to a described call has a described status, media type and body."""
    called = next((path_ for pattern, path_ in _patterns() if pattern.fullmatch(path)), None)
    if called and method.lower() in description()["paths"][called]:
        status, media = str(answer.status_code), answer.mimetype
        validator = _validator(called, method.lower(), status, media)
        if validator:
            validator.validate(answer.json)
