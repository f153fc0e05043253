"""Commands of the services' command lines: `flask --app services.sync purge` and the like."""

from collections.abc import Callable
from typing import Any

import click
from flask.cli import with_appcontext

from shared.usage import in_one_line
from shared.web.errors import Problem


class Command(click.Command):
    """A command that answers a wrong call, and what the use case refuses, in one line."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the arguments. Raises `UsageError`."""
        with in_one_line():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Raises `ClickException` in the place of a `Problem`, and `UsageError`."""
        try:
            with in_one_line():
                return super().invoke(ctx)
        except Problem as problem:
            raise click.ClickException(str(problem.detail)) from problem


def command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """Declare a command that runs within the application's context."""
    declare = click.command(name, cls=Command)
    return lambda function: declare(with_appcontext(function))
