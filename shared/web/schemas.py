"""Wire forms that two services share, and the reader of JSON bodies."""

import json
import re
import unicodedata
from typing import Any

import orjson
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate
from werkzeug.routing import BaseConverter

from shared.models import User
from shared.now import rfc3339
from shared.web.bounds import read_body
from shared.web.errors import Fault, InvalidJson, TooLarge

NAME_LENGTH = 255
EMAIL_LENGTH = 255
#: Twice as many as the records of the largest push. One takes up to a hundred times its two bytes.
MOST_CONTAINERS = 2**20
#: More quotation marks than this are no text either; they are gone over one by one.
MOST_QUOTES = 2**24
#: To the end of the body when it is not closed: whatever is sent is gone over once.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
ID_PATTERN = r"[A-Za-z0-9_.-]{1,36}"


class IdConverter(BaseConverter):
    """An id in a path, `<id:name>`: what cannot be one is nowhere, and is not asked for.

    Ids are ASCII in the tables; MySQL refuses to compare them with anything else.
    """

    regex = ID_PATTERN


class Body(Schema):
    """A request body; fields that a call does not take have no effect."""

    class Meta:
        """marshmallow's own options."""

        unknown = EXCLUDE

    def on_bind_field(self, field_name: str, field_obj: Any) -> None:
        """Give marshmallow's own sentence for a missing field its stable word."""
        missing = field_obj.error_messages["required"]
        field_obj.error_messages["required"] = Fault(missing, "required")


class Length(validate.Length):
    """marshmallow's check, whose sentences have their stable words."""

    message_min = Fault(validate.Length.message_min, "too_short")
    message_max = Fault(validate.Length.message_max, "too_long")


class Text(fields.String):
    """A string of at most `longest` characters that can be stored: half a surrogate pair is none.

    One that is longer than `longest_sent` (by default the same) is refused before anything else is
    done with it (docs/api.md, "Bounds").
    """

    def __init__(
        self,
        longest: int,
        *checks: validate.Validator,
        longest_sent: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(validate=[Length(max=longest), *checks], **kwargs)
        self.check_sent = Length(max=longest_sent or longest)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, *args, **kwargs)
        self.check_sent(text)
        if not is_unicode(text):
            raise ValidationError("Not a valid string.")
        return text


class Name(Text):
    """A name of somebody or something; null for none."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(NAME_LENGTH, allow_none=True, **kwargs)


class Email(Text):
    """An e-mail address, checked for its form only, in lower case."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(EMAIL_LENGTH, validate.Email(), **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        return super()._deserialize(value, *args, **kwargs).strip().lower()


def camel(name: str) -> str:
    """`last_pulled_at` as `lastPulledAt`."""
    head, *rest = name.split("_")
    return head + "".join(word.title() for word in rest)


def normalise(text: str) -> str:
    """`text` in NFC: the same characters, however they were typed."""
    return unicodedata.normalize("NFC", text)


def is_unicode(text: str) -> bool:
    """False when `text` holds half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def user_json(user: User) -> dict[str, Any]:
    """The `user` object of docs/api.md, "Users service"."""
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "isActive": user.is_active,
        "createdAt": rfc3339(user.created_at),
        "updatedAt": rfc3339(user.updated_at),
    }


def read_json(*, optional: bool = False) -> dict[str, Any]:
    """The request body as an object, whatever its Content-Type; `{}` for an empty `optional` one.

    Raises `InvalidJson`, `TooLarge` for a bomb, and as `read_body` does.
    """
    body = read_body()
    if is_bomb(body):
        raise TooLarge("The request body has too many lists and objects.")
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
    """Whether there are more lists and objects in `body` than memory should be spent on.

    Brackets in texts do not count, but are counted first, since that is quick.
    """
    return brackets(body) > MOST_CONTAINERS and (
        body.count(b'"') > MOST_QUOTES or brackets(STRING.sub(b"", body)) > MOST_CONTAINERS
    )


def brackets(body: bytes) -> int:
    """How many open."""
    return body.count(b"[") + body.count(b"{")


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
