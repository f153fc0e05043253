"""Where mail goes to: `MAIL_URL`."""

import ipaddress
from dataclasses import dataclass
from email.utils import parseaddr
from urllib.parse import parse_qs, unquote, urlsplit

from environs import ValidationError

#: Mails are not sent but shown at /mail/ to whoever asks: for development on one machine.
KEEP = "keep:"
PORTS = {"smtp": 587, "smtps": 465}
FORM = "Write smtp://user:password@host:port?from=address, smtps://… or keep:, the user percent-encoded."


@dataclass(frozen=True)
class MailServer:
    """A mail server, and whose name mails bear."""

    host: str
    port: int
    #: TLS from the first byte; otherwise STARTTLS where the server has it.
    is_tls: bool
    user: str
    password: str
    sender: str


def parse_mail_url(url: str) -> MailServer:
    """Return the mail server of a URL. Raises `ValueError`."""
    parts = urlsplit(url)
    query = parse_qs(parts.query, strict_parsing=True)
    [sender] = query.pop("from")
    address = parseaddr(sender)[1]
    if parts.scheme not in PORTS or not parts.hostname or query or parts.path not in ("", "/"):
        raise ValueError(FORM)
    if address.count("@") != 1 or {"\r", "\n"} & set(sender) or parts.fragment:
        raise ValueError(FORM)
    return MailServer(
        host=parts.hostname,
        port=parts.port or PORTS[parts.scheme],
        is_tls=parts.scheme == "smtps",
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        sender=sender,
    )


def check_mail_url(url: str) -> None:
    """Refuse what is no `MAIL_URL`, without repeating the password in it."""
    if url in ("", KEEP):
        return
    try:
        parse_mail_url(url)
    except (ValueError, KeyError) as error:
        raise ValidationError(FORM) from error


def is_loopback(host: str) -> bool:
    """Return whether nobody but this machine reaches a host by its name."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
