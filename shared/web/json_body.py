"""Reading JSON bodies in bounded time and memory (docs/api.md, "Conventions")."""

import json
import re
from typing import Any

import orjson

from shared.web.bounds import read_body
from shared.web.errors import InvalidJson, TooLarge

#: Twice as many as the records of the largest push. One takes up to a hundred times its two bytes.
MAX_CONTAINERS = 2**20
#: Eight bytes for each in the largest push, where an honest record has twenty. One takes up to eighty.
MAX_VALUES = 2**23
#: More quotation marks than this are no text either; they are gone over one by one.
MAX_QUOTES = 2**24
#: To the end of the body when it is not closed: whatever is sent is gone over once.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


def read_json(*, optional: bool = False) -> dict[str, Any]:
    """Return the request body as an object, whatever its Content-Type; `{}` for an empty `optional` one.

    Raises `InvalidJson`, `TooLarge` for a bomb, and as `read_body` does.
    """
    body = read_body()
    if is_bomb(body):
        raise TooLarge("The request body has too many lists, objects and values. Send it in parts.")
    if optional and not body.strip():
        return {}
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        # What JSON.stringify writes and orjson refuses: half a surrogate pair, a huge number.
        value = _lenient(body)
    if not isinstance(value, dict):
        raise InvalidJson
    return value


def is_bomb(body: bytes) -> bool:
    """Return whether there is more in `body` than memory should be spent on: lists, objects, values.

    What stands in texts does not count, but is counted first, since that is quick.
    """
    return has_too_many(body) and (
        body.count(b'"') > MAX_QUOTES or has_too_many(STRING.sub(b"", body))
    )


def has_too_many(json_text: bytes) -> bool:
    """Return whether too many lists and objects open, or too many values end."""
    containers = json_text.count(b"[") + json_text.count(b"{")
    return containers > MAX_CONTAINERS or json_text.count(b",") > MAX_VALUES


def _lenient(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), parse_constant=_no_constant, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise InvalidJson from error


def _no_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _integer(digits: str) -> float:
    # Beyond what any column takes: a float of any size parses, and is repaired like other numbers.
    return int(digits) if len(digits) < 19 else float(digits)
