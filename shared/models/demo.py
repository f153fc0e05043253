"""The demo's tables. `make adopt` takes them away for an app's own."""

from sqlalchemy.orm import Mapped

from shared.database.base import Base
from shared.models import columns
from shared.models.synced import Synced


class Project(Synced, Base):
    """A list of tasks."""

    __tablename__ = "projects"
    SHAREABLE = True

    name: Mapped[str] = columns.string(255)
    description: Mapped[str | None] = columns.text()
    created_at: Mapped[int] = columns.date()
    updated_at: Mapped[int] = columns.date()


class Task(Synced, Base):
    """Something to do, in a project."""

    __tablename__ = "tasks"

    title: Mapped[str] = columns.string(255)
    description: Mapped[str | None] = columns.text()
    is_completed: Mapped[bool] = columns.boolean()
    project_id: Mapped[str] = columns.relation("projects", "cascade")
    created_at: Mapped[int] = columns.date()
    updated_at: Mapped[int] = columns.date()
