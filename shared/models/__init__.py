"""The tables. Importing this package declares all of them."""

from shared.models.account import Session, User
from shared.models.synced import Project, Synced, Task

__all__ = ["Project", "Session", "Synced", "Task", "User"]
