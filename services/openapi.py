"""The whole API as OpenAPI 3.1: `python -m services.openapi` prints it; `--for-apps` what apps call.

Calls come from what the services' routes declare, records from the declared tables, examples from
`openapi_fields`. What stands here is the form of errors, and which of them any call may end with. The
tests hold every answer against it.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any

import click
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from marshmallow import fields

from services.auth import routes as auth
from services.openapi_fields import FIELDS
from services.sync import routes as sync
from services.sync import space_routes as spaces
from services.sync.parameters import (
    MigrationSchema,
    Parameters,
    PullParameters,
    PushParameters,
    ServicePushParameters,
)
from services.sync.schemas import TablesSchema, pushed
from services.sync.service import routes as service
from services.sync.service.guard import check_service_key
from services.sync.service.schemas import LoadParameters
from services.users import routes as users
from shared import __version__
from shared.auth import tokens
from shared.auth.guard import require_access_token
from shared.models.columns import SPACE
from shared.models.tables import SyncedTable, synced_tables
from shared.web import errors
from shared.web.calls import Call
from shared.web.errors import Problem
from shared.web.records import Id, by_table
from shared.web.schemas import ID_PATTERN, Answer, Body, IdConverter, Query, camel

Json = dict[str, Any]

ID = {"type": "string", "pattern": f"^{ID_PATTERN}$"}
OF_ID: Json = {"schema": ID}
TABLE: Json = {
    "schema": {"type": "string"},
    "description": "The name of a reference table.",
    "example": "articles",
}
EXAMPLE_ID, EXAMPLE_MS = "example1", 1_800_000_000_000


class ProblemSchema(Answer):
    """The form of every error."""

    type = fields.String()
    title = fields.String()
    status = fields.Integer()
    detail = fields.String()
    code = fields.String()
    message = fields.String(metadata={"description": "The text of `detail` again."})
    request_id = fields.String()
    errors = fields.Dict(
        values=fields.List(fields.String()),
        metadata={"description": "Sentences by field path; at most 50.", "optional": True},
    )
    error_codes = fields.Dict(
        values=fields.List(fields.String()),
        metadata={"description": "Stable words for the same.", "optional": True},
    )
    errors_omitted = fields.Integer(
        metadata={"description": "How many more there are.", "optional": True}
    )
    conflicts = fields.Dict(values=fields.List(Id()), metadata={"optional": True})


EVERYWHERE = (
    errors.UnsupportedEncoding,
    errors.TooLarge,
    errors.RateLimited,
    Problem,
    errors.Unavailable,
)
SERVICE_KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key from `make service-key`, for servers of yours alone: never in an app or a page.",
}
#: What the gateway says of a service that cannot be reached, or takes too long.
OF_THE_GATEWAY = {(502, "unavailable"), (504, "unavailable")}
WITH_A_BODY = (errors.InvalidJson, errors.InvalidRequest)
GUARDED = (errors.Unauthorized, tokens.TokenExpired)


def describe(*, is_strict: bool = False, for_apps: bool = False) -> Json:
    """Return the description, with every synced table that is declared now.

    `for_apps`: without the calls that no app makes. `is_strict`: as if no answer might ever get a member
    more, for the tests. To apps it is said otherwise.
    """
    spec = APISpec(
        title="WatermelonDB backend",
        version=__version__,
        openapi_version="3.1.0",
        info={
            "description": "Accounts, sessions and sync for apps that use WatermelonDB. Answers may get new"
            " members in later versions: ignore those that you do not know."
        },
        servers=[{"url": "/"}],
        plugins=[MarshmallowPlugin()],
    )
    spec.components.security_scheme("accessToken", {"type": "http", "scheme": "bearer"})
    if not for_apps:
        spec.components.security_scheme("serviceKey", SERVICE_KEY)
    for path, method, view, guards in routes():
        if for_apps and check_service_key in guards:
            continue
        spec.path(path, operations={method: _operation(path, method, view, guards)})
    return _complete(spec.to_dict(), is_strict=is_strict, for_apps=for_apps)


def _complete(description: Json, *, is_strict: bool, for_apps: bool) -> Json:
    """Add what no schema says: the records of changes, and what each member means."""
    schemas = description["components"]["schemas"]
    if not for_apps:
        references = [{"$ref": f"#/components/schemas/{t.name}.record"} for t in synced_tables()]
        schemas["Change"]["properties"]["record"] = {"anyOf": [*references, {"type": "null"}]}
    for name, schema in schemas.items():
        if name.endswith("Body") or name in ("Migration", "AddedColumns"):
            _explain(schema.get("properties", {}))
        if not is_strict:
            schema.pop("additionalProperties", None)
    for operations in description["paths"].values():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                _explain({parameter["name"]: parameter}, "example")
    return description


def _explain(named: dict[str, Json], key: str = "examples") -> None:
    """Add to members or parameters what they mean, and an example."""
    for name, described in named.items():
        meaning, example = FIELDS[camel(name)]
        described.setdefault("description", meaning)
        # What refers to another schema has the examples of that.
        if example is not None and "$ref" not in json.dumps(described):
            described.setdefault(key, [example] if key == "examples" else example)


def routes() -> Iterator[tuple[str, str, Any, list[Any]]]:
    """Yield of each call the path, the method, the view and what guards it."""
    app = Flask("routes", static_folder=None)
    app.url_map.converters["id"] = IdConverter
    of_apps = (auth.public, auth.protected, users.me, users.admin, sync.bp, sync.live, spaces.bp)
    for blueprint in (*of_apps, service.bp):
        app.register_blueprint(blueprint)
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:id:)?(\w+)>", r"{\1}", rule.rule)
        guards = app.before_request_funcs.get(rule.endpoint.split(".")[0], [])
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield path, method.lower(), app.view_functions[rule.endpoint], guards


def _operation(path: str, method: str, view: Any, guards: list[Any]) -> Json:
    call: Call = view.call
    parameters: list[Json] = [
        {"name": name, "in": "path", "required": True, **(TABLE if name == "table" else OF_ID)}
        for name in re.findall(r"{(\w+)}", path)
    ]
    if isinstance(call.takes, Query):
        # apispec makes a parameter of each field.
        parameters.append({"in": "query", "schema": call.takes})
    keys = [(require_access_token, "accessToken"), (check_service_key, "serviceKey")]
    operation: Json = {
        "operationId": re.sub(r"\W+", "_", method + path.removeprefix("/v1")).strip("_"),
        "summary": view.__doc__.splitlines()[0],
        "tags": [path.split("/")[2]],
        "security": [{name: []} for guard, name in keys if guard in guards],
        "parameters": parameters,
    }
    if body := _request_body(call.takes, method):
        operation["requestBody"] = body
    answer = {"description": "Done."} | ({"content": _json(call.answers)} if call.answers else {})
    statuses = [call.status, *([201] if call.may_create else [])]
    problems = _problems(_ends(call, method, guards))
    operation["responses"] = dict.fromkeys(map(str, statuses), answer) | problems
    return operation


def _ends(call: Call, method: str, guards: list[Any]) -> list[type[Problem]]:
    """Return the errors that a call may end with."""
    ends: list[type[Problem]] = [*EVERYWHERE, *call.errors]
    if require_access_token in guards:
        ends += GUARDED
    if check_service_key in guards:
        ends += [errors.Unauthorized, errors.Forbidden]
    if users.require_admin in guards:
        ends += [errors.Forbidden]
    if isinstance(call.takes, Query):
        ends += [errors.InvalidParameter]
    if _has_json(call.takes, method):
        ends += WITH_A_BODY
    return ends


def _has_json(takes: Any, method: str) -> bool:
    # Pull takes a body as POST only.
    return isinstance(takes, Body | Parameters | ServicePushParameters) and method != "get"


def _request_body(takes: Any, method: str) -> Json | None:
    """Return the description of a call's body; None for a call without one."""
    if isinstance(takes, LoadParameters):
        rows: Json = {"schema": {"type": "string"}}
        return {"required": True, "content": {"text/csv": rows, "application/x-ndjson": rows}}
    if not _has_json(takes, method):
        return None
    content = _json(_body(takes))
    if isinstance(takes, PushParameters):
        content["application/json"]["example"] = {"lastPulledAt": 0, "changes": _changes()}
    if isinstance(takes, ServicePushParameters):
        content["application/json"]["example"] = {"changes": _changes()}
    return {"required": not getattr(takes, "is_optional", False), "content": content}


@cache
def _body(takes: Body | Parameters | ServicePushParameters) -> Any:
    """Return the schema of a body; one of pull or push may hold the parameters of the query."""
    if isinstance(takes, Body):
        return takes
    named = takes._declared_fields
    if isinstance(takes, PullParameters):
        migration = fields.Nested(MigrationSchema, allow_none=True)
        return Body.from_dict(named | {"migration": migration}, name="PullBody")
    bare = by_table(TablesSchema, pushed, "Changes")
    changes = fields.Nested(bare, required=True)
    if isinstance(takes, ServicePushParameters):
        return {"anyOf": [Body.from_dict({"changes": changes}, name="ServicePushBody"), bare]}
    return {"anyOf": [Body.from_dict(named | {"changes": changes}, name="PushBody"), bare]}


def _changes() -> Json:
    """Return one new record in each table, which are of one id and so belong together."""
    return {
        table.name: {"created": [_record(table)], "updated": [], "deleted": []}
        for table in synced_tables()
    }


def _record(table: SyncedTable) -> Json:
    kinds = {"string": "Example", "number": 1, "boolean": True}
    values: Json = {
        column.name: EXAMPLE_ID
        if column.relation
        else kinds[column.kind]
        if column is not SPACE
        else None
        for column in table.wire_columns
    }
    for name in ("created_at", "updated_at"):
        if name in values:
            values[name] = EXAMPLE_MS
    return {"id": EXAMPLE_ID, **values}


def _json(schema: Any) -> Json:
    return {"application/json": {"schema": schema}}


def _problems(ends: list[type[Problem]]) -> Json:
    """Return the responses by status, each with the codes that it may come with."""
    known = {(error.status, error.code) for error in ends} | OF_THE_GATEWAY
    responses: Json = {}
    for status, pairs in groupby(sorted(known), key=itemgetter(0)):
        codes = [code for _, code in pairs]
        schema = {"allOf": [ProblemSchema, {"properties": {"code": {"enum": codes}}}]}
        responses[str(status)] = {
            "description": ", ".join(f"`{code}`" for code in codes),
            "content": {"application/problem+json": {"schema": schema}},
        }
    return responses


@click.command()
@click.option("--for-apps", is_flag=True, help="Leave out the calls that no app makes.")
def main(*, for_apps: bool) -> None:
    """Print the description."""
    click.echo(json.dumps(describe(for_apps=for_apps), indent=2))


if __name__ == "__main__":
    main()
