"""The map of a copy: what it says, and what it cannot."""

import pytest

from services.sync.existing.mapping import MapRefused, Path, Step, read_map

USERS = '[users]\ntable = "users"\nid = "id"\nemail = "email"\n'


def test_a_path_leads_through_other_tables() -> None:
    read = read_map(f'{USERS}[tables.tasks]\nuser = "list = lists.Id , board_id = b.c.id,owner"')
    (mapped,) = read.tables
    steps = (Step("list", "lists", "Id"), Step("board_id", "b.c", "id"))
    assert mapped.user == Path(steps, "owner")
    assert mapped.source == "tasks" and mapped.key == () and mapped.space is None


def test_parents_come_before_their_children() -> None:
    tables = '[tables.tasks]\nuser = "user_id"\n[tables.projects]\nuser = "user_id"\n'
    assert [mapped.table.name for mapped in read_map(USERS + tables).tables] == [
        "projects",
        "tasks",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("zone = 'Mars'", "Mars"),
        ("zone = '../../etc/passwd'", "no time zone"),
        ("zone = 5", "zone is a text"),
        ("nonsense", "TOML"),
        ("", "[users] has table"),
        ('[users]\ntable = "u"\nid = "id"', "either email or account"),
        (f'{USERS}account = "a"', "either email or account"),
        (f"{USERS}[spaces]\n42 = 42", "spaces has texts"),
        (f"{USERS}[tables.nothing]", "no table of this name"),
        (f"{USERS}[tables.projects]", "say whose its rows are"),
        (f"{USERS}[tables.projects]\nuser = 7", "user is a text"),
        (f"{USERS}[tables.projects]\nuser = 'a = b'", "a path is"),
        (f"{USERS}[tables.projects]\nuser = 'a, b'", "a path is"),
        (f"{USERS}[tables.projects]\nuser = ''", "a path is"),
        (f"{USERS}[tables.projects]\ncolour = 'red'", "no 'colour'"),
        (
            f"{USERS}[tables.projects]\nuser = 'a'\ncolumns = {{ colour = 'red' }}",
            "colour is no column",
        ),
        (f"{USERS}[tables.projects]\nuser = 'a'\nprefix = 'a b'", "a prefix is"),
        (f"{USERS}[tables.projects]\nkey = []", "key has texts"),
        (f"{USERS}[tables.projects]\naccounts = [1]", "accounts has texts"),
        (f"{USERS}[tables]\nprojects = 1", "is a table of TOML"),
    ],
)
def test_what_a_map_cannot_mean_is_said_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(MapRefused) as refused:
        read_map(text)
    assert said in str(refused.value)
