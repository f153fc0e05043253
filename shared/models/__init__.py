"""The tables. Importing this package declares all of them."""

from shared.models.account import LoginFailures, Session, User
from shared.models.restore import Restore
from shared.models.revocation import Revocation
from shared.models.synced import Project, Synced, Task

__all__ = ["LoginFailures", "Project", "Restore", "Revocation", "Session", "Synced", "Task", "User"]
