"""`make from-mysql`: read the tables of a database, print declarations or the map for a copy."""

import sys

import click

from schema.adopt import declarations
from schema.adopt.declarations import APP
from schema.adopt.demo import DEMO
from schema.adopt.reader import ROOT
from schema.adopt.schema import Refused
from schema.from_mysql import printing
from schema.from_mysql.catalog import read_catalog, source_url
from schema.from_mysql.proposal import Proposal, propose

#: In the place of a table of users: there is none.
NOBODY = "-"


@click.command()
@click.option(
    "--url",
    envvar="SOURCE_URL",
    default="",
    help="The database: mysql://user:password@host/database.",
)
@click.option(
    "--tables", default="", help="Which of its tables, by commas; all where none is named."
)
@click.option("--users", default="", help="The table of users, where it is not found; - for none.")
@click.option(
    "--user-column", default="", help="The column that names a user, without a foreign key."
)
@click.option("--print", "what", default="", help="map: what make copy-from needs.")
def main(url: str, tables: str, users: str, user_column: str, what: str) -> None:
    """Print declarations for the tables of a MySQL database."""
    try:
        if not url:
            raise Refused("Say which database: make from-mysql URL=mysql://user:password@host/name")
        if what not in ("", "models", "map"):
            raise Refused("PRINT is models or map.")
        wanted = [name for name in tables.split(",") if name]
        database = source_url(url).database or ""
        is_public = users == NOBODY
        proposal = propose(read_catalog(url), wanted, "" if is_public else users, user_column)
        if not (proposal.users or user_column or is_public):
            raise Refused(
                "No table of users was found. Say USERS=table, or USER_COLUMN=column; USERS=- makes every "
                "table one that all devices have."
            )
        # The map is for tables that are declared by now.
        texts = [] if what == "map" else _modules()
        if what == "map":
            print(printing.copy_map(proposal, database), end="")
        else:
            taken = [table for text in texts for table in declarations.parse(text).tables]
            print(printing.module(proposal, database, taken), end="")
        for line in _summary(proposal, _names(texts)):
            print(line, file=sys.stderr)
    except Refused as refusal:
        sys.exit(f"make from-mysql: {refusal} Nothing was printed.")


def _modules() -> list[str]:
    """Return the texts of the modules that may declare tables."""
    return [path.read_text() for path in sorted((ROOT / APP).parent.glob("*.py"))]


def _names(texts: list[str]) -> set[str]:
    """Return the names of the tables that are declared, in lower case."""
    names = [table.name for text in texts for table in declarations.parse(text).tables]
    names += [name for text in texts for name in declarations.reference_names(text)]
    return {name.lower() for name in names}


def _summary(proposal: Proposal, taken: set[str]) -> list[str]:
    lines = []
    if public := [table.name for table in proposal.tables if not table.owner]:
        lines.append(
            "Nothing leads from these to a user, so EVERY device would have all of them: "
            f"{', '.join(public)}. Take out what is not for everybody."
        )
    lines += [f"Left out: {line}." for line in proposal.left_out]
    if twice := [table.name for table in proposal.tables if table.name.lower() in taken]:
        lines.append(
            f"Declared already: {', '.join(twice)}. Take away what declares them (the demo is {DEMO}), or "
            "these."
        )
    lines.append("Next: read what was printed; docs/existing-database.md goes on from there.")
    return lines


if __name__ == "__main__":
    main()
