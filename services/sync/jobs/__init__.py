"""The app's own jobs (docs/jobs.md): modules here, with commands of `flask --app services.sync jobs`."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import click
from flask.cli import AppGroup


class Jobs(AppGroup):
    """The app's jobs by name; whoever names none is told which there are, in one line."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the job that the first argument names. Raises `ClickException`."""
        if args[0] not in self.commands:
            known = (
                ", ".join(sorted(self.commands)) or "none yet (docs/jobs.md says how to write one)"
            )
            said = f"There is no job {args[0]!r}." if args[0] else "Name a job."
            raise click.ClickException(f"{said} Jobs: {known}.")
        return super().resolve_command(ctx, args)


jobs = Jobs("jobs", help="Run a job of the app's own.")

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
