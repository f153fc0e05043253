"""What a column of MySQL is declared as, and why."""

from schema.from_mysql.catalog import Column

#: Digits that a double holds, whatever they are.
DOUBLE_DIGITS = 15
#: As many values of an ENUM are told.
SHOWN = 60

INTEGERS = {"tinyint", "smallint", "mediumint", "int", "integer", "year"}
TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "uuid", "inet4", "inet6"}
BYTES = {"tinyblob", "blob", "mediumblob", "longblob", "binary", "varbinary"}
#: What a row may be known by.
KEYS = {*INTEGERS, "bigint", "decimal", "char", "varchar", "enum", "uuid", "binary", "date"}


def kind_of(column: Column) -> tuple[str | None, str]:
    """Return the kind of a declaration and a remark; None for what no column can hold."""
    type_ = column.type
    if type_ == "bit" or column.full_type == "tinyint(1)":
        if column.full_type in ("bit(1)", "tinyint(1)"):
            return "boolean", ""
        return "integer", f"{column.full_type}: as a number."
    if type_ in INTEGERS:
        return "integer", ""
    if type_ == "bigint":
        return (
            "integer",
            "BIGINT: a device holds whole numbers exactly up to 2^53; others are not kept.",
        )
    if type_ in ("float", "double"):
        return "number", ""
    if type_ == "decimal":
        return _decimal(column)
    if type_ in TEXTS:
        return "string", ""
    if type_ in ("enum", "set"):
        full = column.full_type
        values = full[full.find("(") :] if len(full) <= SHOWN else ""
        return "string", f"{type_.upper()}{values}: a text, and nothing refuses another."
    if type_ == "json":
        return "json", ""
    if type_ in ("datetime", "timestamp"):
        return "date", ""
    if type_ == "date":
        return (
            "string",
            "DATE: a text like 2026-11-27. As milliseconds it is another day elsewhere.",
        )
    if type_ == "time":
        return "string", "TIME: a text like 08:30:00."
    if type_ in BYTES:
        return None, "bytes have no column; keep them in a store of files, and their address here"
    return None, f"{type_.upper()} has no column"


def _decimal(column: Column) -> tuple[str, str]:
    full = column.full_type.upper()
    if column.precision > DOUBLE_DIGITS:
        return "string", f"{full}: a text, since a double has {DOUBLE_DIGITS} digits."
    if column.scale == 0:
        return "integer", ""
    return (
        "number",
        f"{full}: a double. For money, columns.string() keeps each digit and adds none.",
    )
