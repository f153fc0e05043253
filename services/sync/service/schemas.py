"""Parameters and answers of the calls for an app's own servers (docs/api.md, "The server's own hand")."""

import re
from io import BytesIO
from typing import Any

from flask import request
from marshmallow import ValidationError, fields, validate

from services.sync.parameters import MAX_PAGE, Limit, Tick
from services.sync.reference.loading import MODES, find_table
from services.sync.service.spaces import PERSONAL, SHARED
from shared.web.bounds import read_body
from shared.web.records import Id
from shared.web.schemas import ID_PATTERN, Answer, Query

#: Changes of a page, where nobody says how many.
PAGE = 1000


def check_id(text: str) -> None:
    """Raise `ValidationError` for what is neither empty nor an id: the servers compare ids with ids alone."""
    if text and not re.fullmatch(ID_PATTERN, text, re.ASCII):
        raise ValidationError("Must be an id, or nothing.")


class ListParameters(Query):
    """The parameters that select the spaces to list."""

    after = fields.String(load_default="", validate=check_id)
    limit = fields.Integer(load_default=50, validate=validate.Range(min=1, max=200))


class AnySpaceSchema(Answer):
    """A space, and the users who are in it."""

    id = fields.String()
    kind = fields.String(validate=validate.OneOf((PERSONAL, SHARED)))
    members = fields.List(fields.String())


class AllSpacesSchema(Answer):
    """A page of them."""

    spaces = fields.List(fields.Nested(AnySpaceSchema))


class ChangesParameters(Query):
    """The parameters of a reading of changes."""

    space = fields.String(required=True, validate=validate.Length(min=1))
    since = Tick(load_default=0, metadata={"type": "integer", "minimum": 0})
    limit = Limit(
        load_default=PAGE, metadata={"type": "integer", "minimum": 1, "maximum": MAX_PAGE}
    )
    cursor = fields.String(load_default=None)


class ChangeSchema(Answer):
    """A row that changed, as it is now."""

    table = fields.String()
    id = Id()
    tick = fields.Integer(validate=validate.Range(min=0))
    deleted = fields.Boolean()
    #: What it is, the description of the API says: one of the tables' records.
    record = fields.Raw(allow_none=True)


class SpaceChangesSchema(Answer):
    """A page of changes."""

    changes = fields.List(fields.Nested(ChangeSchema))
    timestamp = fields.Integer(validate=validate.Range(min=0))
    cursor = fields.String(metadata={"optional": True})
    replacement = fields.Boolean(validate=validate.Equal(True), metadata={"optional": True})


class LoadParameters(Query):
    """The parameters of a load of a reference table, whose body is a file."""

    mode = fields.String(load_default="merge", validate=validate.OneOf(MODES))

    def read(self) -> Any:
        """Return the table, the file, its format and what is to become of other rows.

        Raises `NotFound`, `InvalidParameter`, and as `read_body` does.
        """
        # Before the body is looked at.
        table = find_table((request.view_args or {})["table"])
        parameters = super().read()
        format_ = "csv" if request.mimetype == "text/csv" else "ndjson"
        return {"table": table, "file": BytesIO(read_body()), "format_": format_, **parameters}


class LoadedSchema(Answer):
    """What a load has changed."""

    inserted = fields.Integer(validate=validate.Range(min=0))
    updated = fields.Integer(validate=validate.Range(min=0))
    deleted = fields.Integer(validate=validate.Range(min=0))
    timestamp = fields.Integer(validate=validate.Range(min=0))
