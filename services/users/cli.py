"""The command line of the users service: the first administrator, many accounts, and help for others."""

import csv
import secrets
from typing import IO

import click
from marshmallow import ValidationError

from services.users import administration, identities
from services.users.administration import create_user, promote_to_admin
from shared.accounts.codes import RESET, VERIFY
from shared.accounts.users import EmailTaken
from shared.cli import command
from shared.web.schemas import Email, Name

#: What can be done for somebody, by the name of the command's argument.
HELP = {
    "verify": lambda user_id: administration.change_user(user_id, {"email_verified": True}),
    "send-verify-code": lambda user_id: administration.send_code(user_id, VERIFY),
    "send-reset-code": lambda user_id: administration.send_code(user_id, RESET),
    "end-sessions": administration.end_all_sessions,
    "unlock": administration.unlock,
}


@command("create-admin")
@click.argument("email")
def create_admin(email: str) -> None:
    """Make EMAIL an administrator; a new account gets a password, which is shown once."""
    try:
        email = Email().deserialize(email)
    except ValidationError as error:
        raise click.UsageError(
            f"EMAIL: {error.messages[0]} Write EMAIL=ann@example.org."
        ) from error
    if promote_to_admin(email):
        click.echo(f"{email} is an administrator now.")
        return
    password = secrets.token_urlsafe(16)
    create_user(email, password, role="admin", email_verified=True)
    click.echo(f"{email} is an administrator now. Password, shown this once: {password}")


def unlink(user_id: str, provider: str) -> None:
    """Let a provider open an account no more; say which ones do when it is none of them."""
    linked = {one.provider for one in identities.list_identities(user_id)}
    if provider not in linked:
        raise click.UsageError(
            f"PROVIDER is one of: {', '.join(sorted(linked)) or 'none is linked'}."
        )
    identities.unlink(user_id, provider)


@command("help-user")
@click.argument("what", type=click.Choice([*HELP, "unlink"]), metavar="DO")
@click.argument("email")
@click.argument("provider", default="")
def help_user(what: str, email: str, provider: str) -> None:
    """DO something for the account EMAIL: for unlink, of which PROVIDER."""
    user_id = administration.find_user(email.strip().lower())
    if what == "unlink":
        unlink(user_id, provider)
    else:
        HELP[what](user_id)
    click.echo(f"{email}: {what} is done.")


@command("create-users")
@click.argument("file", type=click.File(encoding="utf-8-sig"))
def create_users(file: IO[str]) -> None:
    """Make an account for each line of a CSV FILE with the columns email and, if there is one, name.

    They have no password: people choose theirs by "Forgotten password". So the e-mails count as verified:
    nobody gets in who does not read that mail. Accounts that are there stay as they are.
    """
    made = there = 0
    lines = csv.DictReader(file)
    if "email" not in (lines.fieldnames or ()):
        raise click.UsageError("The file's first line names its columns, and one of them is email.")
    for line in lines:
        try:
            email = Email().deserialize(line["email"])
            name = Name().deserialize(line.get("name") or None)
            create_user(email, None, name, email_verified=True)
            made += 1
        except EmailTaken:
            there += 1
        except ValidationError as error:
            click.echo(f"Line {lines.line_num}: {error.messages[0]}", err=True)
    click.echo(f"Made {made} accounts; {there} were there.")
