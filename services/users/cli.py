"""The command line of the users service: the first administrator."""

import secrets

import click
from flask.cli import with_appcontext
from marshmallow import ValidationError

from services.users.administration import create_user, promote_to_admin
from shared.web.schemas import Email


@click.command("create-admin")
@click.argument("email")
@with_appcontext
def create_admin(email: str) -> None:
    """Make EMAIL an administrator; a new account gets a password, which is shown once."""
    try:
        email = Email().deserialize(email)
    except ValidationError as error:
        raise click.BadParameter(str(error.messages[0])) from error
    if promote_to_admin(email):
        click.echo(f"{email} is an administrator now.")
        return
    password = secrets.token_urlsafe(16)
    create_user(email, password, role="admin")
    click.echo(f"{email} is an administrator now. Password, shown this once: {password}")
