"""`DATABASE_URL` and `REDIS_URL`: refuse at the start what cannot work, in a sentence without secrets."""

import os
import re
from pathlib import Path

from environs import ValidationError
from sqlalchemy import create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from shared.database import errors
from shared.database.engines import engine_options, is_sqlite

FORM = "Write mysql+pymysql://USER:PASSWORD@HOST:PORT/DATABASE (for MariaDB too) or sqlite:///PATH."
ENCODE = (
    "In a user or password, write every character that is no letter, digit, -, . or _"
    " in percent-encoding: @ is %40, : is %3A, / is %2F, ? is %3F, # is %23, % is %25."
)
REDIS_FORM = "Write redis://:PASSWORD@HOST:PORT/0, rediss://… for TLS, or either with +cluster."

#: Options of a database's URL; all else is ours to set, or some other driver's.
OPTIONS = {
    *("charset", "unix_socket"),
    *("ssl_ca", "ssl_capath", "ssl_cert", "ssl_key", "ssl_cipher", "ssl_check_hostname"),
    *("ssl_verify_cert", "ssl_verify_identity"),
}
TLS = "For TLS with the server's certificate checked write ?ssl_ca=/path/to/ca.pem."
FILES = {
    "ssl_ca",
    "ssl_capath",
    "ssl_cert",
    "ssl_key",
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
}

REDIS_OPTIONS = {
    *("db", "username", "password", "ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs"),
    *("ssl_certfile", "ssl_check_hostname", "ssl_keyfile"),
}


def check_database_url(value: str) -> None:
    """Raise `ValidationError` for what can never work: also what the server that it names says no to."""
    url = _parse(value)
    if is_sqlite(url):
        _check_file(url)
        return
    if url.drivername != "mysql+pymysql":
        raise ValidationError(f"{url.drivername}:// is not known here. {FORM}")
    if "@" in (url.host or ""):
        raise ValidationError(f"The host has an @ in it. {ENCODE}")
    if not (url.host or "unix_socket" in url.query):
        raise ValidationError(f"Names no host. {FORM}")
    if not url.database or not re.fullmatch(r"[^/?#\s]+", url.database):
        raise ValidationError(f"Names no database, or one with odd characters. {FORM}")
    if unknown := sorted(url.query.keys() - OPTIONS):
        raise ValidationError(f"The option {unknown[0]} is not known here. {TLS}")
    if str(url.query.get("charset", "utf8mb4")) != "utf8mb4":
        raise ValidationError("The charset is always utf8mb4. Leave the option out.")
    _check_files({name: str(value) for name, value in url.query.items()})
    _ask(url)


def _parse(value: str) -> URL:
    if value != value.strip() or any(ord(character) < 32 for character in value):
        raise ValidationError("Remove the blanks at its ends, and line breaks.")
    try:
        url = make_url(value)
    except ArgumentError as error:
        raise ValidationError(f"Cannot be read. {FORM}") from error
    except ValueError as error:
        # What follows a colon is no number.
        raise ValidationError(f"The port must be a number. {ENCODE}") from error
    if url.port is not None and not 0 < url.port < 65536:
        raise ValidationError("The port must be a number from 1 to 65535.")
    return url


def _check_file(url: URL) -> None:
    if not url.database or url.database == ":memory:":
        raise ValidationError("Must name a file: sqlite:///PATH.")
    path = Path(url.database)
    if url.query:
        raise ValidationError("SQLite URLs take no options. Leave them out.")
    if not path.parent.is_dir():
        raise ValidationError("The directory of the file does not exist. Create it first.")
    # SQLite also writes files beside it.
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise ValidationError("The file, or its directory, cannot be written to.")
    if path.is_dir():
        raise ValidationError("Names a directory, not a file.")


def _check_files(options: dict[str, str]) -> None:
    for name in sorted(options.keys() & FILES):
        if not os.access(options[name], os.R_OK):
            raise ValidationError(f"The file of {name} cannot be read.")


def _ask(url: URL) -> None:
    """Let the server say whether it knows user, password and database. One that is away may come."""
    engine = create_engine(url, **engine_options(url))
    try:
        with engine.connect():
            pass
    except DBAPIError as error:
        number = errors.number(error)
        if number == 1049:
            raise ValidationError(
                "The database does not exist on the server. Create it first."
            ) from error
        if number in (1044, 1045, 1698):
            raise ValidationError("The server refuses this user or password.") from error
    except (OSError, ValueError) as error:
        raise ValidationError(f"A file of the TLS options is of no use. {TLS}") from error
    finally:
        engine.dispose()


def check_redis_url(value: str) -> None:
    """Raise `ValidationError` for what can never work; empty is none."""
    if not value:
        return
    if not re.match(r"rediss?(\+cluster)?://", value):
        raise ValidationError(f"Begins with no scheme that is known here. {REDIS_FORM}")
    if value != value.strip() or any(ord(character) < 32 for character in value):
        raise ValidationError("Remove the blanks at its ends, and line breaks.")
    # A fifth of the time of a migration, which has no Redis.
    from redis.connection import SSLConnection, parse_url
    from redis.exceptions import RedisError

    plain = value.replace("+cluster", "", 1)
    try:
        read = parse_url(plain)
    except ValueError as error:
        raise ValidationError(f"Cannot be read. {REDIS_FORM} {ENCODE}") from error
    address, _, query = plain.partition("?")
    where = re.fullmatch(r"\w+://(?:[^/]*@)?([^@/]+)(?:/(\d*))?", address)
    if where is None:
        raise ValidationError(f"Names no host, or its database is no number. {REDIS_FORM} {ENCODE}")
    names = {part.partition("=")[0] for part in query.split("&") if part}
    if unknown := sorted(names - REDIS_OPTIONS):
        raise ValidationError(f"The option {unknown[0]} is not known here. {REDIS_FORM}")
    is_tls = read.get("connection_class") is SSLConnection
    if not is_tls and any(name.startswith("ssl_") for name in names):
        raise ValidationError("TLS options require rediss:// instead of redis://.")
    if "+cluster" in value and where[2] not in (None, "", "0"):
        raise ValidationError("A Redis Cluster has only database 0.")
    _check_files({name: str(read[name]) for name in names & read.keys()})
    if is_tls:
        try:
            SSLConnection(**{name: read[name] for name in names & read.keys() - {"db"}})
        except RedisError as error:
            raise ValidationError("ssl_cert_reqs must be none, optional or required.") from error
