"""What declarations of every kind have in common: those of synced tables and of reference tables."""

from typing import Any, ClassVar

from shared.database.base import Base
from shared.models.declaration import read_declaration


class Declared:
    """A table that an app declares: its columns are what travels, in this order."""

    __tablename__: Any
    #: The table's name on the wire, where it is not its name in SQL.
    WIRE_NAME: ClassVar[str | None] = None
    #: Whether an app may put rows into a shared space: records then have the wire column `space_id`.
    SHAREABLE: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse what cannot be meant; raise `DeclarationError`."""
        if Declared not in cls.__bases__:
            taken = {name.lower() for name in Base.metadata.tables}
            read_declaration(cls, server_columns(cls), taken | server_tables())
        super().__init_subclass__(**kwargs)


def server_columns(model: type) -> frozenset[str]:
    """Return the columns that the server adds to a declaration, which is derived from one kind."""
    kinds = [kind for kind in Declared.__subclasses__() if issubclass(model, kind)]
    return frozenset(name for kind in kinds for name in kind.__annotations__)


def server_tables() -> set[str]:
    """Return the names of the tables that are not declared: the server's own."""
    # One without a name is refused when its declaration is read.
    declared = {
        str(vars(model).get("__tablename__"))
        for kind in Declared.__subclasses__()
        for model in kind.__subclasses__()
    }
    return {"alembic_version", *Base.metadata.tables} - declared
