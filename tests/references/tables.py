"""Reference tables, and a table of users' rows that names one.

Loaded with `pytest -p tests.references.tables`; tests/own_table puts this file beside the project's own.
"""

from sqlalchemy.orm import Mapped

from shared.database.base import Base
from shared.models import columns
from shared.models.reference import Reference
from shared.models.synced import Synced


class Muscle(Reference, Base):
    """Nothing but a name."""

    __tablename__ = "muscles"

    name: Mapped[str] = columns.string()


class Exercise(Reference, Base):
    """A column of every kind."""

    __tablename__ = "app_exercises"
    WIRE_NAME = "exercises"

    name: Mapped[str] = columns.string(40)
    order: Mapped[int] = columns.integer()
    price: Mapped[float | None] = columns.number()
    is_hard: Mapped[bool] = columns.boolean()
    notes: Mapped[str | None] = columns.text()
    since: Mapped[int | None] = columns.date()
    data: Mapped[str] = columns.json()
    muscle_id: Mapped[str | None] = columns.relation("muscles", "keep")


class Workout(Synced, Base):
    """A user's row that names one of the server's own."""

    __tablename__ = "workouts"

    exercise_id: Mapped[str] = columns.relation("exercises", "keep")
