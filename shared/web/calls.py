"""Declarations of what a route takes, answers and may fail with, beside the route.

The description of the API is made from these declarations (docs/adr/0004-one-description.md).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from flask import Response
from marshmallow import Schema

from shared.web.errors import Problem
from shared.web.schemas import Body, Query

View = Callable[..., Any]


@dataclass(frozen=True)
class Call:
    """The declaration of a route."""

    takes: Body | Query | None
    #: None: 204.
    answers: Schema | None
    status: int
    errors: tuple[type[Problem], ...]


def call(
    *,
    takes: type[Body | Query] | None = None,
    answers: type[Schema] | None = None,
    status: int = 200,
    errors: tuple[type[Problem], ...] = (),
) -> Callable[[View], View]:
    """Declare a route: read its input with `takes`, write its answer with `answers`.

    The view gets what was read as its first argument. A `Response` that it returns is sent as it is:
    records are written faster than a schema could. `errors` are those that not every call may end with.
    """
    source = takes() if takes else None
    schema = answers() if answers else None
    declared = Call(source, schema, status if answers else 204, errors)

    def declare(view: View) -> View:
        @wraps(view)
        def run(**ids: str) -> Any:
            answer = view(source.read(), **ids) if source else view(**ids)
            if isinstance(answer, Response):
                return answer
            return schema.dump(answer) if schema else "", declared.status

        run.call = declared  # type: ignore[attr-defined]
        return run

    return declare
