"""Copying rows of a source into the demo's tables: whose they become, what is told, what is never done."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

from services.sync.existing import copying, source
from services.sync.existing.mapping import read_map
from tests.api import Api, Device
from tests.conftest import Backend
from tests.existing import execute, sample
from tests.mails import verify
from tests.servers.processes import MariaDB

SQL = """
CREATE TABLE people (no INT PRIMARY KEY, login VARCHAR(90), account VARCHAR(36)) ENGINE=InnoDB;
CREATE TABLE boards (id INT PRIMARY KEY, person INT, team INT, title VARCHAR(90), made INT) ENGINE=InnoDB;
CREATE TABLE cards (board INT, no VARCHAR(9), text VARCHAR(90), done CHAR(1), PRIMARY KEY (board, no))
    ENGINE=InnoDB;
INSERT INTO people VALUES (1, ' {ann} ', '{ann_id}'), (2, '{ben}', '{ben_id}'), (3, 'nobody', NULL);
INSERT INTO boards VALUES (1, 1, NULL, 'Own', 1700000000), (2, 1, 7, 'Shared', 1700000001),
    (3, 2, NULL, 'Of Ben', NULL), (4, 3, NULL, 'Of nobody here', 0), (5, 1, 8, 'Of another team', 0),
    (6, NULL, NULL, 'Of nobody', 0);
INSERT INTO cards VALUES (1, 'a', 'A', '1'), (1, 'b', 'B', '0'), (1, 'c', 'C', 'x'), (2, 'a', 'D', '1'),
    (3, 'ä', 'E', '1'), (4, 'a', 'F', '1'), (99, 'a', 'G', '1')
"""
MAP = """
[users]
table = "people"
id = "no"
{how}

[spaces]
7 = "{space}"
"50% ' \\\\" = "{space}"

[tables.tasks]
from = "cards"
user = "board = boards.id, person"
space = "board = boards.id, team"
columns = {{ title = "text", project_id = "board", is_completed = "done" }}

[tables.projects]
from = "boards"
user = "person"
space = "team"
prefix = "b"
columns = {{ name = "title", created_at = "made" }}
seconds = ["made"]
"""


@pytest.fixture(scope="session")
def sync_service(application: Any) -> Flask:
    import services.sync

    return services.sync.create_app()


class Old:
    """A source with rows of two users and a team, and the map of it."""

    def __init__(self, sync_service: Flask, server: MariaDB, ann: Device, place: Path) -> None:
        self.sync_service, self.server, self.place = sync_service, server, place
        self.ann, self.ben = ann, ann.api.register()
        for device in (self.ann, self.ben):
            verify(device)
        made = ann.api.post("/spaces", {"name": "Team"}, token=ann.token)
        self.space = made.json["id"]
        self.map = place / "map.toml"
        self.map.write_text(MAP.format(how='email = "login"', space=self.space))
        self.url = ""

    @property
    def sql(self) -> str:
        names = {"ann": self.ann.email.upper(), "ben": self.ben.email}
        return SQL.format(**names, ann_id=self.ann.user_id, ben_id=self.ben.user_id)

    def copy(self, *options: str, code: int = 0) -> str:
        """Run the command; return what it prints."""
        arguments = ["copy", f"--map={self.map}", f"--url={self.url}", *options]
        done = self.sync_service.test_cli_runner().invoke(args=arguments)
        assert done.exit_code == code, f"{done.output}\n{done.exception!r}"
        return str(done.output)


@pytest.fixture
def old(sync_service: Flask, server: MariaDB, device: Device, tmp_path: Path) -> Iterator[Old]:
    made = Old(sync_service, server, device, tmp_path)
    with sample(server, made.sql) as made.url:
        yield made


def test_rows_go_to_their_users_and_to_spaces(old: Old) -> None:
    told = old.copy()
    old.ann.pull()
    projects, tasks = old.ann.rows["projects"], old.ann.rows["tasks"]
    assert set(projects) == {"b1", "b2"}
    assert projects["b1"]["name"] == "Own" and projects["b1"]["space_id"] is None
    assert projects["b1"]["created_at"] == 1_700_000_000_000
    assert projects["b2"]["space_id"] == old.space
    assert {id_: row["title"] for id_, row in tasks.items()} == {
        "1-a": "A",
        "1-b": "B",
        "1-c": "C",
        "2-a": "D",
    }
    assert tasks["1-a"]["project_id"] == "b1" and tasks["1-a"]["is_completed"] is True
    assert tasks["1-b"]["is_completed"] is False
    old.ben.pull()
    assert set(old.ben.rows["projects"]) == {"b3"}
    ((id_, task),) = old.ben.rows["tasks"].items()
    assert re.fullmatch("[0-9a-f]{32}", id_) and task["title"] == "E"
    for line in (
        "projects: 3 rows",
        "tasks: 5 rows",
        "projects: 1 left out, of a user without an account: b4",
        "projects: 2 left out, of no user and no mapped space: b5, b6",
        "tasks: 1 left out, of a user without an account: 4-a",
        "tasks: 1 left out, of no user and no mapped space: 99-a",
        "tasks: 1 is_completed: a value of another kind: 1-c",
        "projects: 1 repaired: b3",
    ):
        assert line in told, told
    assert re.search(r"13 of 13 rows, .* a second", told), told


def test_whoever_registers_with_an_address_of_another_gets_nothing(
    old: Old, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    thief = api.register()
    execute(old.server, old.url, f"UPDATE people SET login = '{thief.email}' WHERE no = 2")
    told = old.copy()
    assert "projects: 1 left out, of a user whose account's e-mail is not verified: b3" in told
    thief.pull()
    assert thief.rows["projects"] == {}
    # Where nobody can verify anything, addresses are taken for what they are.
    monkeypatch.setitem(old.sync_service.config, "MAIL_URL", "")
    assert "not verified" not in old.copy()
    verify(thief)


def test_a_column_may_have_the_accounts_id(old: Old) -> None:
    old.map.write_text(MAP.format(how='account = "account"', space=old.space))
    assert "projects: 3 rows" in old.copy()


def test_every_row_comes_once_however_few_are_read_at_a_time(
    old: Old, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "BATCH", 1)
    monkeypatch.setattr(copying, "RECORDS", 2)
    assert "tasks: 5 rows" in old.copy()
    old.ann.pull()
    assert len(old.ann.rows["tasks"]) == 4


def test_keys_of_bytes_are_read_in_their_order_and_named_by_their_digits(
    old: Old, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(
        old.server,
        old.url,
        "CREATE TABLE b (id BINARY(16) PRIMARY KEY, person INT, title VARCHAR(9))",
        "CREATE TABLE c (b BINARY(16), at DATETIME, text VARCHAR(9), PRIMARY KEY (b, at))",
        "INSERT INTO b VALUES (UNHEX('00ff'), 1, 'one'), (UNHEX('27'), 1, 'quote'), (UNHEX('5c25'), 1, '%')",
        "INSERT INTO c VALUES (UNHEX('27'), '2024-01-01', 'x'), (UNHEX('27'), '2024-01-02', 'y')",
    )
    old.map.write_text(
        old.map.read_text()
        .replace('from = "boards"', 'from = "b"')
        .replace('from = "cards"', 'from = "c"')
        .replace('"board = boards.id, person"', '"b = b.id, person"')
        .replace('space = "board = boards.id, team"', "")
        .replace('space = "team"', "")
        .replace('project_id = "board", is_completed = "done"', 'project_id = "b"')
        .replace(', created_at = "made"', "")
        .replace('seconds = ["made"]', "")
    )
    monkeypatch.setattr(source, "BATCH", 1)
    assert "projects: 3 rows" in old.copy()
    old.ann.pull()
    ids = {f"b{start}{'0' * (32 - len(start))}" for start in ("00ff", "27", "5c25")}
    assert set(old.ann.rows["projects"]) == ids
    assert {row["title"] for row in old.ann.rows["tasks"].values()} == {"x", "y"}
    assert {row["project_id"] for row in old.ann.rows["tasks"].values()} == {f"b27{'0' * 30}"}


def test_a_copy_that_was_cut_off_goes_on_after_the_last_user_who_was_done(
    old: Old, monkeypatch: pytest.MonkeyPatch
) -> None:
    push, pushed = copying.push_as_server, []

    def cut_off(space_id: str, *given: Any) -> Any:
        if pushed:
            raise pymysql.OperationalError(2013, "Lost connection")
        pushed.append(space_id)
        return push(space_id, *given)

    monkeypatch.setattr(copying, "push_as_server", cut_off)
    assert "Lost connection" in old.copy(code=1)
    monkeypatch.setattr(
        copying, "push_as_server", lambda *given: pushed.append(given[0]) or push(*given)
    )
    told = old.copy()
    assert pushed == [old.ann.user_id, old.ben.user_id, old.space]
    # What was told of the part before is not forgotten.
    assert "tasks: 5 rows" in told and "1-c" in told
    old.copy()
    assert len(pushed) == 6


def test_a_database_that_gives_up_is_said_in_a_sentence(
    old: Old, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(*_: Any) -> Any:
        raise OperationalError("UPDATE users …", {}, Exception("Lock wait timeout exceeded"))

    monkeypatch.setattr(copying, "push_as_server", give_up)
    told = old.copy(code=1)
    assert "gave up (OperationalError): run it again" in told


def test_the_state_of_another_map_is_refused(old: Old) -> None:
    state = old.map.with_name("map.toml.state")
    state.write_text('{"map": "another", "last": "", "rows": 0, "copied": {}, "remarks": {}}')
    assert "The map changed" in old.copy(code=1)
    state.write_text("half a fi")
    assert "remove that file" in old.copy(code=1)


def test_a_place_where_no_state_can_be_kept_is_refused_before_anything_is_copied(old: Old) -> None:
    nowhere = old.place / "nowhere/state"
    assert "cannot be written" in old.copy(f"--state={nowhere}", code=1)
    old.ann.pull()
    assert old.ann.rows["projects"] == {}


def test_one_user_is_copied_alone(old: Old) -> None:
    told = old.copy("--only=2")
    assert "projects: 1 rows" in told and "of no user" not in told
    old.ann.pull()
    assert old.ann.rows == {"projects": {}, "tasks": {}}
    assert "nobody with no = 17" in old.copy("--only=17", code=1)


def test_a_row_that_names_another_users_row_is_told_of(old: Old) -> None:
    execute(
        old.server,
        old.url,
        "CREATE TABLE owners (board INT, no VARCHAR(9), person INT)",
        "INSERT INTO owners VALUES (1, 'a', 2), (1, 'b', 1)",
        "CREATE VIEW owned AS SELECT cards.*, person FROM cards JOIN owners USING (board, no)",
    )
    old.map.write_text(
        old.map.read_text()
        .replace('from = "cards"', 'from = "owned"\nkey = ["board", "no"]')
        .replace('user = "board = boards.id, person"', 'user = "person"')
    )
    told = old.copy()
    assert "project_id: names a row that its user has not; stored as deleted: 1-a" in told
    old.ben.pull()
    assert old.ben.rows["tasks"] == {}


def test_nothing_is_written_to_the_source(old: Old) -> None:
    who_may = old.server.url("migrate", old.url.rpartition("/")[2].partition("?")[0])
    if "?" in old.url:
        who_may = f"{who_may.partition('?')[0]}?{old.url.partition('?')[2]}"
    with closing(source.Source(who_may, read_map(old.map.read_text()))) as reader:
        for statement in ("DELETE FROM cards", "CREATE TABLE x (a INT)"):
            with pytest.raises(pymysql.MySQLError, match="READ ONLY"):
                reader.ask(statement)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('from = "boards"', 'from = "boreds"', "boreds"),
        ('name = "title"', 'name = "titel"', "boards has no column titel"),
        ('table = "people"', 'table = "persons"', "persons"),
        ('user = "person"', 'user = "owner"', "owner"),
        ("boards.id", "boreds.id", "boreds"),
        ('7 = "', '7 = "x', "There is no space x"),
        ('prefix = "b"', "key = ['id', 'x']", "boards has no column x"),
    ],
)
def test_a_map_that_does_not_fit_is_said_in_a_sentence(
    old: Old, before: str, after: str, said: str
) -> None:
    old.map.write_text(old.map.read_text().replace(before, after))
    told = old.copy(code=1)
    assert said in told and "Traceback" not in told


def test_a_source_that_is_none_is_said_in_a_sentence(old: Old, backend: Backend) -> None:
    for url in ("", "nonsense", "sqlite:///x", "mysql://nobody@127.0.0.1:1/x"):
        old.url = url
        assert "Error: " in old.copy(code=1)


def test_accounts_are_made_from_a_file(api: Api, users_service: Flask, tmp_path: Path) -> None:
    file = tmp_path / "users.csv"

    def make(text: str, code: int = 0) -> str:
        file.write_text(text)
        done = users_service.test_cli_runner().invoke(args=["create-users", str(file)])
        assert done.exit_code == code, done.output
        return str(done.output)

    name = tmp_path.name.lower()
    told = make(f"\ufeffid,email\n1,{name}-1@example.com\n2,nonsense\n3\n4,{name}-1@EXAMPLE.com\n")
    assert "Line 3" in told and "Line 4" in told
    assert "Made 1 accounts; 1 were there." in told
    assert "one of them is email" in make("mail\nx@example.com\n", code=2)
    assert "one of them is email" in make("", code=2)
    login = {"email": f"{name}-1@example.com", "password": ""}
    assert api.post("/auth/login", login).status_code in (401, 422)
