"""The whole API as OpenAPI 3.1: `python -m deploy.api.openapi` prints it.

Nothing is said twice: calls come from the services' routes, bodies from their marshmallow schemas,
records from the declared tables, errors from the exceptions. What remains, the answers and which
errors a call may end with, stands here, and the tests hold every answer against it.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from marshmallow import Schema

from services.auth import credentials, rotation
from services.auth import routes as auth
from services.auth import schemas as auth_schemas
from services.sync import cursor, push
from services.sync import routes as sync
from services.sync.config import CONFLICTS
from services.sync.schemas import LONGEST_PAGE
from services.users import accounts
from services.users import routes as users
from services.users import schemas as users_schemas
from shared import __version__
from shared.accounts.lockout import TooManyAttempts
from shared.accounts.passwords import SHORTEST, NewPassword
from shared.accounts.users import EmailTaken, LastAdmin
from shared.auth import tokens
from shared.auth.guard import require_access_token
from shared.models.tables import Column, SyncedTable, synced_tables
from shared.web import errors
from shared.web.errors import Problem
from shared.web.schemas import ID_PATTERN, IdConverter, camel

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
TIME: Json = {"type": "string", "format": "date-time"}
TICK: Json = {"type": "integer", "minimum": 0}
ID: Json = {"type": "string", "pattern": f"^{ID_PATTERN}$"}
FLAG: Json = {"type": "boolean"}


def ref(name: str) -> Json:
    """Points to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Json) -> Json:
    """The same, or null."""
    return schema | {"type": [schema["type"], "null"]}


def array(items: Json) -> Json:
    """A list of these."""
    return {"type": "array", "items": items}


def exactly(optional: Json | None = None, **members: Json) -> Json:
    """An object with these members and no others."""
    return {
        "type": "object",
        "properties": members | (optional or {}),
        "required": list(members),
        "additionalProperties": False,
    }


SESSION = {
    "id": TEXT,
    "deviceName": nullable(TEXT),
    "createdAt": TIME,
    "lastUsedAt": TIME,
    "expiresAt": TIME,
}
TOKENS = {
    "accessToken": TEXT,
    "refreshToken": TEXT,
    "tokenType": {"const": "Bearer"},
    "expiresIn": {"type": "integer", "description": "Seconds."},
}
TEXTS_BY_PATH: Json = {"type": "object", "additionalProperties": array(TEXT)}
IDS_BY_TABLE: Json = {"type": "object", "additionalProperties": array(ID)}
SCHEMAS: dict[str, Json] = {
    "User": exactly(
        id=TEXT,
        email=TEXT,
        name=nullable(TEXT),
        role={"enum": list(users_schemas.ROLES)},
        isActive=FLAG,
        createdAt=TIME,
        updatedAt=TIME,
    ),
    "Tokens": exactly(**TOKENS),
    "SignedIn": exactly(**TOKENS, user=ref("User")),
    "Session": exactly(**SESSION, current=FLAG),
    "Problem": exactly(
        type=TEXT,
        title=TEXT,
        status={"type": "integer"},
        detail=TEXT,
        code=TEXT,
        message={"description": "The text of `detail` again."} | TEXT,
        requestId=TEXT,
        optional={
            "errors": {"description": "Sentences by field path; at most 50."} | TEXTS_BY_PATH,
            "errorCodes": {"description": "Stable words for the same."} | TEXTS_BY_PATH,
            "errorsOmitted": {"type": "integer", "description": "How many more there are."},
            "conflicts": IDS_BY_TABLE,
        },
    ),
    "Migration": {
        "description": "What WatermelonDB sends when the app's schema has grown since its last sync.",
        "type": ["object", "null"],
        "properties": {
            "from": TICK,
            "tables": array(TEXT),
            "columns": array(exactly(table=TEXT, columns=array(TEXT))),
        },
    },
    "Pushed": exactly(
        timestamp=TICK,
        upToDate=FLAG,
        resolved=IDS_BY_TABLE,
        repaired=IDS_BY_TABLE,
        ignored={
            "description": "Columns that the tables have not, at most 50 of each.",
            "type": "object",
            "additionalProperties": array(TEXT),
        },
        refused=IDS_BY_TABLE,
        refusedReasons={
            "type": "object",
            "additionalProperties": {"type": "object", "additionalProperties": TEXT},
        },
    ),
}

#: Parameters of sync, as the query has them and as a body may.
PARAMETERS: dict[str, Json] = {
    "last_pulled_at": {"description": "`timestamp` of the last pull; none, 0 or null at first."}
    | {"anyOf": [TICK, {"enum": ["", "null", "undefined"]}, {"type": "null"}]},
    "schema_version": {"description": "Taken from WatermelonDB, and without effect."},
    "migration": {"description": "JSON, as WatermelonDB sends it."},
    "send_created_as_updated": {"enum": ["", "0", "1", "false", "true", False, True]},
    "limit": {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE},
    "cursor": TEXT | {"description": "Of the page before."},
    "conflicts": {"enum": list(CONFLICTS)},
}
PULL = (
    "last_pulled_at",
    "schema_version",
    "migration",
    "send_created_as_updated",
    "limit",
    "cursor",
)
PUSH = ("last_pulled_at", "conflicts")


def in_body(names: tuple[str, ...]) -> Json:
    """The same parameters as members of a body."""
    return {camel(name): PARAMETERS[name] for name in names}


PULL_BODY: Json = {
    "type": "object",
    "properties": in_body(PULL) | {"migration": ref("Migration")},
}


@dataclass(frozen=True)
class Call:
    """What a route does not say of itself."""

    answer: Json | None
    status: int = 200
    body: type[Schema] | Json | None = None
    body_is_optional: bool = False
    query: tuple[str, ...] | type[Schema] = ()
    errors: tuple[type[Problem], ...] = ()


CALLS: dict[Callable[..., Any], Call] = {
    auth.register: Call(ref("SignedIn"), 201, auth_schemas.RegisterBody, errors=(EmailTaken,)),
    auth.login: Call(
        ref("SignedIn"),
        body=auth_schemas.LoginBody,
        errors=(
            credentials.InvalidCredentials,
            credentials.AccountDisabled,
            TooManyAttempts,
        ),
    ),
    auth.refresh: Call(
        ref("Tokens"),
        body=auth_schemas.RefreshTokenBody,
        body_is_optional=True,
        errors=(errors.Unauthorized, tokens.TokenExpired, rotation.TokenReused),
    ),
    auth.logout: Call(
        None,
        204,
        auth_schemas.RefreshTokenBody,
        body_is_optional=True,
        errors=(errors.Unauthorized,),
    ),
    auth.logout_all: Call(None, 204),
    auth.list_sessions: Call(exactly(sessions=array(ref("Session")))),
    auth.end_session: Call(None, 204, errors=(errors.NotFound,)),
    auth.jwks: Call(
        exactly(keys=array({"type": "object", "required": ["kty", "kid"], "properties": {}}))
    ),
    users.read_me: Call(ref("User")),
    users.change_me: Call(
        ref("User"),
        body=users_schemas.ProfileBody,
        errors=(accounts.WrongPassword, EmailTaken, TooManyAttempts),
    ),
    users.change_my_password: Call(
        None,
        204,
        users_schemas.NewPasswordBody,
        errors=(accounts.WrongPassword, TooManyAttempts),
    ),
    users.delete_me: Call(
        None,
        204,
        users_schemas.ConfirmBody,
        errors=(accounts.WrongPassword, TooManyAttempts, LastAdmin),
    ),
    users.export_me: Call(ref("Export")),
    users.list_users: Call(
        exactly(users=array(ref("User")), total=TICK, limit=TICK, offset=TICK),
        query=users_schemas.ListParameters,
        errors=(errors.InvalidParameter,),
    ),
    users.create_user: Call(ref("User"), 201, users_schemas.NewAccountBody, errors=(EmailTaken,)),
    users.read_user: Call(ref("User"), errors=(errors.NotFound,)),
    users.change_user: Call(
        ref("User"),
        body=users_schemas.AccountBody,
        errors=(errors.NotFound, EmailTaken, LastAdmin),
    ),
    users.delete_user: Call(None, 204, errors=(errors.NotFound, LastAdmin)),
    sync.pull: Call(
        ref("Pulled"),
        body=PULL_BODY,
        body_is_optional=True,
        query=PULL,
        errors=(errors.InvalidParameter, cursor.InvalidCursor),
    ),
    sync.push: Call(
        ref("Pushed"),
        body=ref("PushBody"),
        query=PUSH,
        errors=(errors.InvalidParameter, push.SyncConflict),
    ),
}


class Unreachable(Problem):
    """No instance of the service can be reached."""

    status, code = 502, "unavailable"


class TooSlow(Problem):
    """The service took too long."""

    status, code = 504, "unavailable"


EVERYWHERE = (
    errors.UnsupportedEncoding,
    errors.TooLarge,
    errors.RateLimited,
    Problem,
    Unreachable,
    errors.Unavailable,
    TooSlow,
)
WITH_A_BODY: tuple[type[Problem], ...] = (errors.InvalidJson, errors.InvalidRequest)
GUARDED = (errors.Unauthorized, tokens.TokenExpired)


def describe() -> Json:
    """The description, with every synced table that is declared now."""
    marshmallow = MarshmallowPlugin()
    spec = APISpec(
        title="WatermelonDB backend",
        version=__version__,
        openapi_version="3.1.0",
        info={"description": "Accounts, sessions and sync for apps that use WatermelonDB."},
        servers=[{"url": "/"}],
        plugins=[marshmallow],
    )
    assert marshmallow.converter
    marshmallow.converter.add_attribute_function(_shortest)
    spec.components.security_scheme("accessToken", {"type": "http", "scheme": "bearer"})
    for name, schema in (SCHEMAS | _table_schemas()).items():
        spec.components.schema(name, schema)
    for route in _routes():
        spec.path(route.path, operations={route.method: _operation(route, CALLS[route.view])})
    description: Json = spec.to_dict()
    return description


@dataclass(frozen=True)
class Route:
    """What a route says of itself."""

    path: str
    method: str
    view: Callable[..., Any]
    is_guarded: bool
    is_for_admins: bool


def _operation(route: Route, call: Call) -> Json:
    ends = EVERYWHERE + call.errors
    ends += GUARDED if route.is_guarded else ()
    ends += (errors.Forbidden,) if route.is_for_admins else ()
    name = f"{route.method}{route.path.removeprefix('/v1')}"
    operation: Json = {
        "operationId": re.sub(r"\W+", "_", name).strip("_"),
        "summary": (route.view.__doc__ or "").strip().splitlines()[0],
        "tags": [route.path.split("/")[2]],
        "security": [{"accessToken": []}] if route.is_guarded else [],
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, "schema": ID}
                for name in re.findall(r"{(\w+)}", route.path)
            ),
            *_query(call.query),
        ],
    }
    # Pull has one as POST only.
    if call.body and route.method != "get":
        ends += WITH_A_BODY
        operation["requestBody"] = {
            "required": not call.body_is_optional,
            "content": {"application/json": {"schema": call.body}},
        }
    operation["responses"] = {str(call.status): _answer(call.answer)} | _problems(ends)
    return operation


def _routes() -> Iterator[Route]:
    app = Flask("routes", static_folder=None)
    app.url_map.converters["id"] = IdConverter
    blueprints = (auth.public, auth.protected, users.me, users.admin, sync.bp)
    for blueprint in blueprints:
        app.register_blueprint(blueprint)
    for rule in app.url_map.iter_rules():
        guards = app.before_request_funcs.get(rule.endpoint.split(".")[0], [])
        path = re.sub(r"<id:(\w+)>", r"{\1}", rule.rule)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield Route(
                path,
                method.lower(),
                app.view_functions[rule.endpoint],
                is_guarded=require_access_token in guards,
                is_for_admins=users.require_admin in guards,
            )


def _shortest(_converter: object, field: object, **_: Any) -> Json:
    # Checked by the field itself, since only this of its checks has a text of its own.
    return {"minLength": SHORTEST} if isinstance(field, NewPassword) else {}


def _query(parameters: tuple[str, ...] | type[Schema]) -> list[Json]:
    if not isinstance(parameters, tuple):
        # apispec makes a parameter of each field.
        return [{"in": "query", "schema": parameters}]
    return [{"name": name, "in": "query", "schema": PARAMETERS[name]} for name in parameters]


def _answer(schema: Json | None) -> Json:
    if schema is None:
        return {"description": "Done."}
    return {"description": "Done.", "content": {"application/json": {"schema": schema}}}


def _problems(errors: tuple[type[Problem], ...]) -> Json:
    """By status: the codes that it may come with."""
    responses: Json = {}
    for status in sorted({error.status for error in errors}):
        codes = sorted({error.code for error in errors if error.status == status})
        schema = {"allOf": [ref("Problem"), {"properties": {"code": {"enum": codes}}}]}
        responses[str(status)] = {
            "description": ", ".join(f"`{code}`" for code in codes),
            "content": {"application/problem+json": {"schema": schema}},
        }
    return responses


def _table_schemas() -> dict[str, Json]:
    """Records, and what is made of them."""
    schemas: dict[str, Json] = {}
    pulled, pushed, exported = {}, {}, {}
    for table in synced_tables():
        name = table.name
        columns = {column.name: _column(column) for column in table.columns}
        record = exactly(id=ID, **columns)
        schemas[f"{name}.record"] = record
        schemas[f"{name}.pushed"] = {
            "description": "Values that a column cannot hold are repaired.",
            "type": "object",
            "properties": record["properties"] | {"_status": {}, "_changed": {}},
            "required": ["id"],
        }
        pulled[name] = exactly(
            created=array(ref(f"{name}.record")),
            updated=array(ref(f"{name}.record")),
            deleted=array(ID),
        )
        pushed[name] = {
            "type": "object",
            "properties": {
                "created": array(ref(f"{name}.pushed")),
                "updated": array(ref(f"{name}.pushed")),
                "deleted": array(ID),
            },
            "additionalProperties": False,
        }
        exported[name] = array(exactly(id=ID, **_with_orphans(table, columns), _deleted=FLAG))
    changes = {"type": "object", "properties": pushed}
    pages = {"cursor": TEXT, "experimentalStrategy": {"const": "replacement"}}
    return schemas | {
        "Pulled": exactly(pages, changes=exactly(**pulled), timestamp=TICK),
        "Changes": changes,
        "PushBody": {
            "anyOf": [
                {"type": "object", "properties": {"changes": ref("Changes"), **in_body(PUSH)}}
                | {"required": ["changes"]},
                ref("Changes"),
            ]
        },
        "Export": exactly(
            user=ref("User"),
            sessions=array(exactly(**SESSION, revokedAt=nullable(TIME))),
            records=exactly(**exported),
        ),
    }


def _column(column: Column) -> Json:
    schema: Json = {"type": "integer" if column.whole else column.kind}
    if column.characters:
        schema["maxLength"] = column.characters
    if column.bytes:
        schema["description"] = f"Up to {column.bytes:,} bytes."
    return nullable(schema) if column.optional else schema


def _with_orphans(table: SyncedTable, columns: dict[str, Json]) -> dict[str, Json]:
    # The tombstone of an orphan has no parent.
    return columns | {c.name: nullable(columns[c.name]) for c in table.enforced if not c.optional}


if __name__ == "__main__":
    print(json.dumps(describe(), indent=2))
