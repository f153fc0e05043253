"""Give each database user what it needs and no more: `python -m deploy.grants`, after the migrations.

Runs with the `DATABASE_URL` of the user who migrates. The rights are read off the declared tables, so
an own table needs no line here. What a service may not read, it cannot leak: sync sees no password.
"""

import os
import sys

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from shared.database.base import Base
from shared.database.differences import TablesDiffer, differences
from shared.database.engines import job_options
from shared.database.errors import number
from shared.models.tables import reference_tables, synced_tables

#: What a guarded request asks of a session.
SESSION = "SELECT (id, user_id, revoked_at, expires_at, began_at_tick)"
#: What it asks of an account, the user's clock, and what members of a space see of each other.
ACCOUNT = (
    "SELECT (id, email, email_verified, name, role, is_active, updated_at, last_modified_at, purged_until,"
    " has_spaces, pushed_by, pushed_since, pushed_at),"
    " UPDATE (last_modified_at, has_spaces, pushed_by, pushed_since, pushed_at)"
)
#: What whoever gives a tick asks of the clock of reference tables.
REFERENCE_CLOCK = "SELECT, UPDATE (mark)"

#: Who need not be there: databases of older releases have no user for jobs, and none for webhooks.
OPTIONAL = {"jobs", "webhooks"}
#: What the servers say to a grant to nobody: MariaDB, MySQL, and either where one may make no users.
NO_USER = {1133, 1410}
#: What it takes to note a change for receivers of webhooks, once or again.
OUTBOX = "SELECT (kind, written_at), INSERT, UPDATE"


def rights() -> dict[str, dict[str, str]]:
    """Return the rights by user and table."""
    tables = [table.sql.name for table in synced_tables()]
    references = [table.sql.name for table in reference_tables()]
    return {
        "auth": {
            "users": "SELECT, INSERT, UPDATE",
            "sessions": "SELECT, INSERT, UPDATE",
            "identities": "SELECT, INSERT, DELETE",
            "login_failures": "SELECT, INSERT, UPDATE, DELETE",
            "restores": "SELECT",
            "revocations": "SELECT, INSERT",
            "mail_outbox": "SELECT, INSERT, UPDATE, DELETE",
            "mail_codes": "SELECT, INSERT, UPDATE, DELETE",
            "mail_addresses": "SELECT, INSERT, UPDATE",
            "reference_clock": REFERENCE_CLOCK,
        },
        "users": {
            "users": "SELECT, INSERT, UPDATE, DELETE",
            "sessions": "SELECT, UPDATE",
            "identities": "SELECT, INSERT, DELETE",
            "login_failures": "SELECT, INSERT, UPDATE, DELETE",
            "restores": "SELECT",
            "revocations": "SELECT, INSERT",
            "mail_outbox": "SELECT (user_id), INSERT, DELETE",
            "mail_codes": "SELECT, INSERT, UPDATE, DELETE",
            "mail_addresses": "SELECT, INSERT, UPDATE",
            "spaces": "SELECT, UPDATE",
            "members": "SELECT, UPDATE",
            "invitations": "SELECT, DELETE",
            "reference_clock": REFERENCE_CLOCK,
            "webhook_outbox": OUTBOX,
            **dict.fromkeys(tables, "SELECT, DELETE"),
        },
        "sync": {
            "users": ACCOUNT,
            "sessions": SESSION,
            "restores": "SELECT",
            "revocations": "SELECT",
            "spaces": "SELECT, INSERT, UPDATE",
            "members": "SELECT, INSERT, UPDATE",
            "invitations": "SELECT, INSERT, DELETE",
            "resends": "SELECT, INSERT, UPDATE, DELETE",
            "mail_outbox": "INSERT",
            # It recognizes keys. Whoever migrates makes and revokes them.
            "service_keys": "SELECT (id, name, key_hash, scopes, last_used_at, revoked_at),"
            " UPDATE (last_used_at)",
            "mail_addresses": "SELECT, INSERT, UPDATE",
            # Loads are calls of the API too, so whoever serves writes what they write.
            "reference_clock": "SELECT, UPDATE (mark, tick)",
            "reference_loads": "SELECT, INSERT, UPDATE (loaded_at)",
            "webhook_outbox": OUTBOX,
            **dict.fromkeys((*tables, *references), "SELECT, INSERT, UPDATE"),
        },
        "webhooks": {
            "webhook_outbox": "SELECT, DELETE",
            "webhook_batches": "SELECT, INSERT, UPDATE, DELETE",
            "webhook_receivers": "SELECT, INSERT, UPDATE",
        },
        "purge": {
            "users": "SELECT (id, last_modified_at, purged_until, has_spaces),"
            " UPDATE (last_modified_at, purged_until, has_spaces)",
            "spaces": "SELECT, UPDATE, DELETE",
            "members": "SELECT, DELETE",
            "invitations": "SELECT, DELETE",
            "resends": "SELECT, DELETE",
            "webhook_outbox": "SELECT, DELETE",
            "webhook_batches": "SELECT (id, made_at), DELETE",
            "sessions": "SELECT (id, expires_at), DELETE",
            "login_failures": "SELECT (email_hash, first_failed_at), DELETE",
            "revocations": "SELECT (session_id, until), DELETE",
            "mail_outbox": "SELECT (id, expires_at), DELETE",
            "mail_codes": "SELECT (id, expires_at), DELETE",
            "mail_addresses": "SELECT (address_hash, last_at), DELETE",
            "reference_clock": "SELECT, UPDATE (purged_until)",
            "reference_loads": "SELECT, DELETE",
            **dict.fromkeys((*tables, *references), "SELECT, DELETE"),
        },
        # Jobs of the app's own, which write rows as sync does and nothing else.
        "jobs": {
            "users": "SELECT (id, last_modified_at), UPDATE (last_modified_at)",
            "spaces": "SELECT, UPDATE (last_tick)",
            # To hold them; no job changes one.
            "members": "SELECT, UPDATE (joined_at)",
            "resends": "SELECT, INSERT, UPDATE",
            "reference_clock": REFERENCE_CLOCK,
            "webhook_outbox": OUTBOX,
            **dict.fromkeys(tables, "SELECT, INSERT, UPDATE"),
            **dict.fromkeys(references, "SELECT"),
        },
    }


def grant(database_url: str) -> None:
    """Grant these rights on the database that the URL names. Raises `TablesDiffer`."""
    url = make_url(database_url)
    engine = create_engine(url, **job_options(url))
    with engine.connect() as connection:
        if said := differences(connection, Base.metadata.tables.values()):
            raise TablesDiffer(said)
        for user, tables in rights().items():
            try:
                for table, right in tables.items():
                    connection.execute(
                        text(f"GRANT {right} ON `{url.database}`.`{table}` TO '{user}'@'%'")
                    )
            except DBAPIError as error:
                if user not in OPTIONAL or number(error) not in NO_USER:
                    raise
                print(f"There is no user {user!r}: none of its rights were granted.")
    engine.dispose()


if __name__ == "__main__":
    try:
        grant(os.environ["DATABASE_URL"])
    except TablesDiffer as error:
        sys.exit(f"No rights were granted. {error}")
