"""The parameters of pull and push (docs/api.md, "Sync service")."""

import re
from collections.abc import Mapping
from typing import Any

import orjson
from flask import current_app, request
from marshmallow import (
    EXCLUDE,
    Schema,
    ValidationError,
    fields,
    post_load,
    pre_load,
    validate,
    validates_schema,
)

from services.sync.config import CONFLICTS
from services.sync.schemas import LATEST, Changes, load_changes
from services.sync.selection import Migration
from shared.models.tables import pulled_tables
from shared.web.json_body import read_json
from shared.web.schemas import Query, camel

MAX_PAGE = 10_000
#: What a migration may name.
MIGRATED = {"tables", "columns"}
#: What JavaScript makes of "no value yet" in a query string.
NOTHING_YET = ("", "null", "undefined")
#: What follows a name of which only a part is given.
SPREAD = {"[", "."}


class Tick(fields.Field[int]):
    """A tick in milliseconds; 0 for what JavaScript makes of "no value yet"."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        number = 0 if value in NOTHING_YET else whole_number(value)
        if number is None or number < 0:
            raise ValidationError("Must be an integer of at least 0.")
        return min(number, LATEST)


class Limit(fields.Field[int | None]):
    """Rows per page; None for the whole answer."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int | None:
        number = whole_number(value)
        if value == "":
            return None
        if number is None or not 1 <= number <= MAX_PAGE:
            raise ValidationError(f"Must be an integer from 1 to {MAX_PAGE}.")
        return number


class AddedColumns(Schema):
    """The columns that a migration adds to a table."""

    class Meta:
        """marshmallow's own options."""

        unknown = EXCLUDE

    table = fields.String(required=True)
    columns = fields.List(fields.String(), required=True, allow_none=True)


class MigrationSchema(Schema):
    """The additions to the app's schema since its last sync. Names unknown to the server are left out."""

    class Meta:
        """marshmallow's own options."""

        unknown = EXCLUDE
        description = "What WatermelonDB sends when the app's schema has grown since its last sync."

    since = fields.Raw(data_key="from", metadata={"type": "integer", "minimum": 0})
    tables = fields.List(fields.String(), allow_none=True)
    columns = fields.List(fields.Nested(AddedColumns), allow_none=True)

    @pre_load
    def check_names(self, given: Any, **_: Any) -> Any:
        """Refuse another kind of object, which would be read as nothing."""
        if isinstance(given, dict) and given.keys() - {"from"} and not given.keys() & MIGRATED:
            raise ValidationError("Must name `tables` or `columns`.")
        return given

    @post_load
    def known(self, given: dict[str, Any], **_: Any) -> Migration:
        """Return what the server knows of it."""
        added: dict[str, set[str]] = {}
        for entry in given.get("columns") or ():
            added.setdefault(entry["table"], set()).update(entry["columns"] or ())
        return Migration(
            tables=frozenset(
                t.name for t in pulled_tables() if t.name in (given.get("tables") or ())
            ),
            columns={
                t.name: frozenset(t.names) & added[t.name]
                for t in pulled_tables()
                if t.name in added
            },
        )


class MigrationField(fields.Field[Migration | None]):
    """The `migration` parameter of WatermelonDB's migration syncs; None if there is none.

    Names that the server does not know are left out.
    """

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Migration | None:
        try:
            if isinstance(value, str):
                value = None if value in NOTHING_YET else orjson.loads(value)
            return None if value is None else MigrationSchema().load(value)
        except (ValueError, ValidationError) as error:
            message = (
                "Must be the migration that WatermelonDB passes, as JSON: from, tables, columns."
            )
            raise ValidationError(message) from error


class Flag(fields.Field[bool]):
    """On or off, as text or in JSON."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if value in ("1", "true", True):
            return True
        if value in (*NOTHING_YET, "0", "false", False):
            return False
        raise ValidationError("Must be 1 or 0.")


class Parameters(Query):
    """The parameters of a call, from the query and the body, in both spellings; the query wins."""

    #: Whether no body at all is as good as `{}`.
    is_optional = False

    last_pulled_at = Tick(
        load_default=0,
        metadata={
            "description": "`timestamp` of the last pull; none, 0 or null at first.",
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"enum": list(NOTHING_YET)},
                {"type": "null"},
            ],
        },
    )

    @pre_load
    def gather(self, sources: tuple[Mapping[str, Any], ...], **_: Any) -> dict[str, Any]:
        """Find each parameter in the query or else in the body, in either spelling.

        Raises `ValidationError` for one that is spread over several (`migration[tables][0]=…`, as some
        HTTP libraries write objects and lists): it would be read as none at all.
        """
        found: dict[str, Any] = {}
        for source in sources:
            spread = {re.split(r"[\[.]", key, maxsplit=1)[0] for key in source if SPREAD & {*key}}
            for name in self.fields.keys() - found.keys():
                for spelling in (name, camel(name)):
                    if spelling in source:
                        found.setdefault(name, source[spelling])
                    elif spelling in spread and name not in found:
                        message = f"Send `{spelling}` as one parameter, an object as JSON."
                        raise ValidationError(message, name)
        return {name: value for name, value in found.items() if value is not None}


class PullParameters(Parameters):
    """The parameters of a pull: which changes to send, and how."""

    is_optional = True

    schema_version = fields.Raw(
        metadata={"description": "Accepted from WatermelonDB, and ignored."}
    )
    migration = MigrationField(metadata={"description": "JSON, as WatermelonDB sends it."})
    send_created_as_updated = Flag(metadata={"enum": ["", "0", "1", "false", "true", False, True]})
    limit = Limit(metadata={"type": "integer", "minimum": 1, "maximum": MAX_PAGE})
    cursor = fields.Raw(
        metadata={"type": "string", "description": "`cursor` of the previous page."}
    )

    @validates_schema
    def check_cursor(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a cursor whose page has no size."""
        if "cursor" in data and data.get("limit") is None:
            raise ValidationError("`cursor` requires the `limit` of the first page.", "limit")

    def read(self) -> Any:
        """Return the parameters of this pull. Raises `InvalidParameter`, and as `read_json` does."""
        body = read_json(optional=True) if request.method == "POST" else {}
        return self.load_parameters((request.args, body))


class PushParameters(Parameters):
    """The parameters of a push: the device's last pull, and the handling of conflicts."""

    conflicts = fields.Raw(
        validate=validate.OneOf(CONFLICTS, error="Must be one of: {choices}."),
        load_default=lambda: current_app.config["SYNC_CONFLICTS"],
    )

    def read(self) -> Any:
        """Return the `changes` of this push and its parameters.

        Raises `InvalidParameter`, and as `read_json` and `load_changes` do.
        """
        changes, in_body = read_changes()
        return {"changes": changes, **self.load_parameters((request.args, in_body))}


class ServicePushParameters(Query):
    """The parameters of a push by the app's own server: the space that it goes to."""

    space = fields.String(required=True, validate=validate.Length(min=1))

    def read(self) -> Any:
        """Return the `changes` of this push and its space.

        Raises `InvalidParameter`, and as `read_json` and `load_changes` do.
        """
        parameters = super().read()
        return {"changes": read_changes()[0], **parameters}


def read_changes() -> tuple[Changes, dict[str, Any]]:
    """Return the changes of the body, and what else it has. Raises as `read_json` and `load_changes` do."""
    tables = [table.name for table in pulled_tables()]
    return load_changes(read_json(), tables, current_app.config["MAX_PUSH_RECORDS"])


def whole_number(value: Any) -> int | None:
    """Return an integer that came as JSON or in decimal digits, None for anything else."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,1000}", value):
        return int(value)
    return value if type(value) is int else None
