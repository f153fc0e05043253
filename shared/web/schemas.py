"""Base classes of the schemas of bodies, queries and answers, and schemas that two services share."""

import unicodedata
from functools import cache
from typing import Any

from flask import request
from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate
from werkzeug.routing import BaseConverter

from shared.now import rfc3339
from shared.web.errors import Fault, InvalidParameter, flatten
from shared.web.json_body import read_json

NAME_LENGTH = 255
EMAIL_LENGTH = 255
ROLES = ("user", "admin")
ID_PATTERN = r"[A-Za-z0-9_.-]{1,36}"


class IdConverter(BaseConverter):
    """An id in a path, `<id:name>`: what cannot be one is nowhere, and is not asked for.

    Ids are ASCII in the tables; MySQL refuses to compare them with anything else.
    """

    regex = ID_PATTERN


class Object(Schema):
    """A JSON object, whose members are spelled in camelCase unless they have a `data_key`."""

    def on_bind_field(self, field_name: str, field_obj: Any) -> None:
        """Spell the member."""
        field_obj.data_key = field_obj.data_key or camel(field_name)


class Body(Object):
    """A request body; fields that a call does not take have no effect."""

    #: Whether no body at all is as good as `{}`.
    is_optional = False

    class Meta:
        """marshmallow's own options."""

        unknown = EXCLUDE

    def on_bind_field(self, field_name: str, field_obj: Any) -> None:
        """Give marshmallow's own sentence for a missing field its stable word."""
        super().on_bind_field(field_name, field_obj)
        missing = field_obj.error_messages["required"]
        field_obj.error_messages["required"] = Fault(missing, "required")

    def read(self) -> Any:
        """Return the fields of the request's body. Raises `ValidationError`, and as `read_json` does."""
        return self.load(read_json(optional=self.is_optional))


class Query(Schema):
    """The parameters of a query string; others have no effect."""

    class Meta:
        """marshmallow's own options."""

        unknown = EXCLUDE

    def read(self) -> Any:
        """Return the request's parameters. Raises `InvalidParameter`."""
        return self.load_parameters(request.args.to_dict())

    def load_parameters(self, given: Any) -> Any:
        """Load `given`. Raises `InvalidParameter`."""
        try:
            return self.load(given)
        except ValidationError as error:
            raise InvalidParameter(flatten(error.messages)) from error


class Answer(Object):
    """The answer of a call; no member is missing that is not `optional`."""

    def on_bind_field(self, field_name: str, field_obj: Any) -> None:
        """Say so in the description."""
        super().on_bind_field(field_name, field_obj)
        field_obj.required = not field_obj.metadata.get("optional")


class Length(validate.Length):
    """marshmallow's check, whose sentences have their stable words."""

    message_min = Fault(validate.Length.message_min, "too_short")
    message_max = Fault(validate.Length.message_max, "too_long")


class Text(fields.String):
    """A string of at most `longest` characters that can be stored: half a surrogate pair is none.

    One that is longer than `max_sent` (by default the same) is refused before anything else is
    done with it (docs/api.md, "Bounds").
    """

    def __init__(
        self,
        longest: int,
        *checks: validate.Validator,
        max_sent: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(validate=[Length(max=longest), *checks], **kwargs)
        self.check_sent = Length(max=max_sent or longest)

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


class Time(fields.DateTime):
    """Milliseconds since the Unix epoch, written as RFC 3339 in UTC."""

    def _serialize(self, value: Any, *_: Any, **__: Any) -> str | None:
        return None if value is None else rfc3339(value)


class IsThere(fields.Boolean):
    """Whether a column has a value."""

    def _serialize(self, value: Any, *_: Any, **__: Any) -> bool:
        return value is not None


class UserSchema(Answer):
    """An account (docs/api.md, "Users service")."""

    id = fields.String()
    email = fields.String()
    name = fields.String(allow_none=True)
    role = fields.String(validate=validate.OneOf(ROLES))
    is_active = fields.Boolean()
    email_verified = fields.Boolean()
    pending_email = fields.String(allow_none=True)
    has_password = IsThere(attribute="password")
    created_at = Time()
    updated_at = Time()


class DeviceSession(Answer):
    """The members of a session in every list of sessions."""

    id = fields.String()
    device_name = fields.String(allow_none=True)
    created_at = Time()
    last_used_at = Time()
    expires_at = Time()


@cache
def camel(name: str) -> str:
    """Return `last_pulled_at` as `lastPulledAt`."""
    head, *rest = name.split("_")
    return head + "".join(word.title() for word in rest)


def normalize(text: str) -> str:
    """Return `text` in NFC: the same characters, however they were typed."""
    return unicodedata.normalize("NFC", text)


def is_unicode(text: str) -> bool:
    """Return False when `text` holds half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
