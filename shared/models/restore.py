"""The intervals of ticks that restores from a backup lost."""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, and_
from sqlalchemy.orm import Mapped, mapped_column

from shared.database.base import Base
from shared.models.columns import TABLE_OPTIONS


class Restore(Base):
    """An interval of ticks that a restore lost: a device that pulled within it saw what is no more."""

    __tablename__ = "restores"
    __table_args__ = TABLE_OPTIONS

    #: The backup's point in time.
    lost_after: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    #: When the restore was made.
    lost_until: Mapped[int] = mapped_column(BigInteger)

    @classmethod
    def has_lost(cls, tick: Any) -> ColumnElement[bool]:
        """Return the condition that `tick` lies in the interval."""
        return and_(cls.lost_after < tick, cls.lost_until >= tick)
