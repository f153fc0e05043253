"""The command line of service keys (docs/back-office.md)."""

import click

from services.sync.service import keys
from shared.cli import command
from shared.now import rfc3339


@command("service-key")
@click.argument("name")
@click.argument("scopes")
def create_key(name: str, scopes: str) -> None:
    """Make a service key NAME with SCOPES, separated by commas, and show it this once."""
    key = keys.create_key(name, [scope.strip() for scope in scopes.split(",")])
    click.echo(f"The service key {name}, shown this once: {key}")


@command("service-keys")
def list_keys() -> None:
    """List the living service keys."""
    lines = [("NAME", "SCOPES", "CREATED", "LAST USED")]
    for key in keys.list_keys():
        used = rfc3339(key.last_used_at) if key.last_used_at else "never"
        lines.append((key.name, key.scopes.replace(" ", ","), rfc3339(key.created_at), used))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(map(str.ljust, line, widths)).rstrip())


@command("revoke-service-key")
@click.argument("name")
def revoke_key(name: str) -> None:
    """End the service key NAME at once."""
    keys.revoke_key(name)
    click.echo(f"The service key {name} is revoked.")


KEY_COMMANDS = (create_key, list_keys, revoke_key)
