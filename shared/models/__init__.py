"""The tables. Importing this package declares all of them."""

from importlib import import_module
from pkgutil import iter_modules

from shared.models.account import LoginFailures, Session, User
from shared.models.identity import Identity
from shared.models.mail import Mail, MailAddress, MailCode
from shared.models.reference import Reference, ReferenceClock, ReferenceLoad
from shared.models.restore import Restore
from shared.models.revocation import Revocation
from shared.models.service_key import ServiceKey
from shared.models.space import Invitation, Member, Resend, Space
from shared.models.synced import Synced
from shared.models.webhook import WebhookBatch, WebhookChange, WebhookReceiver

__all__ = [
    "Identity",
    "Invitation",
    "LoginFailures",
    "Mail",
    "MailAddress",
    "MailCode",
    "Member",
    "Reference",
    "ReferenceClock",
    "ReferenceLoad",
    "Resend",
    "Restore",
    "Revocation",
    "ServiceKey",
    "Session",
    "Space",
    "Synced",
    "User",
    "WebhookBatch",
    "WebhookChange",
    "WebhookReceiver",
]

# After the server's own tables, whose names no declaration may take.
for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
