"""What a real server says of the sample's tables becomes declarations that load."""

from urllib.parse import quote

import pytest
from click.testing import CliRunner

from schema.adopt.schema import Refused
from schema.from_mysql.__main__ import main
from schema.from_mysql.catalog import read_catalog
from schema.from_mysql.printing import copy_map, module
from schema.from_mysql.proposal import propose
from tests.adopt.declared import wire_schema
from tests.adopt.test_declarations import check_format
from tests.conftest import on_servers
from tests.existing import execute, sample
from tests.servers.processes import MariaDB

pytestmark = on_servers


def test_the_sample_is_declared(server: MariaDB) -> None:
    with sample(server) as url:
        catalog = read_catalog(url)
        before = execute(server, url, "SELECT 1")
    assert before is None
    found = propose(catalog, [], "", "")
    text = module(found, "training", [])
    for line in (
        'parent_id: Mapped[str | None] = columns.relation("plans", "cascade")',
        "order: Mapped[int] = columns.integer()",
        "settings: Mapped[str | None] = columns.json()",
        "created_at: Mapped[int] = columns.date()",
        'plan_id: Mapped[str | None] = columns.relation("plans", "clear")',
        "coach_id: Mapped[str | None] = columns.string()",
        "day: Mapped[str | None] = columns.string()",
        "# photo is left out: bytes have no column",
        "# note_length is left out: the database computes it.",
        "# Belongs to the user in workout_id = workouts.id, user_id.",
        'exercise_id: Mapped[str] = columns.relation("exercises", "keep")',
        "weight: Mapped[float | None] = columns.number()",
        "is_done: Mapped[bool] = columns.boolean()",
        "is_bodyweight: Mapped[bool] = columns.boolean()",
        'tag_id: Mapped[str] = columns.relation("tags", "cascade")',
        "# Its id is made of workout_id and tag_id, with - between.",
        "ENUM('legs','back','chest','arms'): a text",
        "DECIMAL(10,2): a double.",
    ):
        assert line in text, f"{line}\n{text}"
    check_format(text)
    names = {table["name"] for table in wire_schema(text)}
    assert names == {
        *("exercises", "prices", "plans", "workouts", "sets", "tags", "workout_tags"),
    }
    assert sorted(line.partition(":")[0] for line in found.left_out) == [
        *("heavy_sets", "schema_migrations", "users", "visits"),
    ]
    assert 'accounts = ["coach_id"]' in copy_map(found, "training")


def test_odd_names_and_keys_are_read(server: MariaDB) -> None:
    odd = """
    CREATE TABLE `Kunden` (`Kunden-Nr` INT PRIMARY KEY, `E-Mail` VARCHAR(90)) ENGINE=InnoDB;
    CREATE TABLE `a b` (a VARCHAR(9) NOT NULL, `b%s` INT NOT NULL, c INT DEFAULT (1 + 1),
        UNIQUE (a, `b%s`), UNIQUE (c)) ENGINE=InnoDB;
    CREATE TABLE `%` (a INT, b INT, `E-Mail` INT, PRIMARY KEY (a, b)) ENGINE=InnoDB;
    CREATE TABLE child (id INT PRIMARY KEY, x INT, y INT, FOREIGN KEY (x, y) REFERENCES `%` (a, b))
        ENGINE=InnoDB
    """
    with sample(server, odd) as url:
        catalog = read_catalog(url)
    assert catalog["a b"].key == ("a", "b%s")
    assert not any(column.is_generated for column in catalog["a b"].columns)
    found = propose(catalog, [], "Kunden", "")
    assert found.users and found.users.email == "E-Mail"
    text = module(found, "odd", [])
    check_format(text)
    assert "x, y name a row of % together" in text
    assert len(wire_schema(text)) == 3


def test_without_users_nothing_is_given_to_everybody_unless_that_is_said(server: MariaDB) -> None:
    with sample(server, "CREATE TABLE salaries (id INT PRIMARY KEY, amount INT)") as url:
        refused = CliRunner().invoke(main, [f"--url={url}"])
        assert refused.exit_code == 1 and "No table of users was found" in refused.output
        public = CliRunner().invoke(main, [f"--url={url}", "--users=-"])
    assert "class Salary(Reference, Base)" in public.stdout
    assert "EVERY device would have all of them: salaries." in public.stderr


def test_what_is_declared_already_is_said(server: MariaDB) -> None:
    users = "CREATE TABLE users (id INT PRIMARY KEY, email VARCHAR(9));\n"
    with sample(server, f"{users}CREATE TABLE tasks (id INT PRIMARY KEY, user_id INT)") as url:
        options = [f"--url={url}", "--user-column=user_id"]
        printed = CliRunner().invoke(main, options)
        mapped = CliRunner().invoke(main, [*options, "--print=map"])
    assert "Declared already: tasks." in printed.stderr
    assert "[tables.tasks]" in mapped.stdout and "Declared" not in mapped.stderr


def test_a_server_that_cannot_be_read_is_said_in_a_sentence(server: MariaDB) -> None:
    with sample(server) as url:
        wrong = url.replace(f"purge:{server.passwords['purge']}", f"purge:{quote('fälsch')}")
        with pytest.raises(Refused, match=r"cannot be read: .*Access denied"):
            read_catalog(wrong)
    with pytest.raises(Refused, match="cannot be read"):
        read_catalog(url)
