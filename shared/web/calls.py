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
class Created:
    """The answer of a view that has made something, where not each of its calls does."""

    answer: Any


@dataclass(frozen=True)
class Call:
    """The declaration of a route."""

    takes: Body | Query | None
    #: None: an answer without a body.
    answers: Schema | None
    status: int
    errors: tuple[type[Problem], ...]
    #: Whether a view may answer `Created`: 201.
    may_create: bool


def call(
    *,
    takes: type[Body | Query] | None = None,
    answers: type[Schema] | None = None,
    status: int | None = None,
    errors: tuple[type[Problem], ...] = (),
    may_create: bool = False,
) -> Callable[[View], View]:
    """Declare a route: read its input with `takes`, write its answer with `answers`.

    The view gets what was read as its first argument. A `Response` that it returns is sent as it is:
    records are written faster than a schema could. `errors` are those that not every call may end with.
    """
    source = takes() if takes else None
    schema = answers() if answers else None
    declared = Call(source, schema, status or (200 if answers else 204), errors, may_create)

    def declare(view: View) -> View:
        @wraps(view)
        def run(**ids: str) -> Any:
            answer = view(source.read(), **ids) if source else view(**ids)
            if isinstance(answer, Response):
                return answer
            status = declared.status
            if isinstance(answer, Created):
                answer, status = answer.answer, 201
            return schema.dump(answer) if schema else "", status

        run.call = declared  # type: ignore[attr-defined]
        return run

    return declare
