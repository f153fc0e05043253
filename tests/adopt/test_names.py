"""Names that somebody else owns in Python, SQL or here are not taken."""

from hypothesis import given
from hypothesis import strategies as st

from schema.adopt import names
from shared.database.base import Base, db
from shared.models import Synced
from shared.models.declared import server_tables


def test_the_servers_own_names_are_known() -> None:
    assert {"users", "sessions", "alembic_version"} <= server_tables()
    owned = {*dir(Base), *dir(Synced), *dir(db.Model)}
    visible = {name for name in owned if not name.startswith("_") and name.islower()}
    assert visible <= names.OWNED_COLUMNS | names.OWN_ATTRIBUTES


def test_a_name_that_is_free_is_kept() -> None:
    wire = ["tasks", "users", "Group", "createdAt", "created_at", "_x", "x", "order"]
    assert names.sql_tables(wire, {}) == {
        "tasks": "tasks",
        "users": "app_users",
        "Group": "group",
        "createdAt": names.shorten("created_at", "createdAt", 48, always=True),
        "created_at": "created_at",
        "_x": names.shorten("x", "_x", 48, always=True),
        "x": "x",
        "order": "order",
    }
    wire = ["user_id", "from", "metadata", "is_deleted", "_", "_1", "HTMLBody", "match", "title"]
    assert list(names.attributes(wire, {}).values()) == [
        "user_id_",
        "from_",
        "metadata_",
        "is_deleted_",
        "column__",
        "column_1",
        "html_body",
        "match_",
        "title",
    ]


def test_a_name_that_was_given_stays() -> None:
    assert names.attributes(["from", "from_"], {"from": "from_"})["from"] == "from_"
    assert names.attributes(["from", "from_"], {})["from_"] == "from_"


@given(st.lists(st.from_regex(r"\A[A-Za-z_]\w{0,90}\Z").filter(str.isascii), unique_by=str.lower))
def test_names_in_sql_are_lower_case_short_and_unique(wire: list[str]) -> None:
    for found, length in ((names.sql_tables(wire, {}), 48), (names.attributes(wire, {}), 56)):
        given_names = list(found.values())
        assert list(found) == wire
        assert len(set(given_names)) == len(given_names)
        for name in given_names:
            assert name.isidentifier() and name == name.lower() and len(name) <= length


def test_classes_are_called_as_the_app_calls_them_or_like_one_row() -> None:
    assert names.class_name("posts", "Article", set()) == "Article"
    assert names.class_name("posts", "Base", set()) == "Post"
    singular = {
        "diary_entries": "DiaryEntry",
        "boxes": "Box",
        "status": "Status",
        "people": "Person",
    }
    for table, name in singular.items():
        assert names.class_name(table, None, set()) == name
    assert names.class_name("post", None, {"Post"}) == "Post2"
    assert names.class_name("posts", None, {"Post"}) == "Posts"
    assert names.class_name("none", None, set()) == "Table"
