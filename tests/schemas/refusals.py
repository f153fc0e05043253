"""What follows from a refusal in trees, circles and join tables, by a rule or for want of a space."""

from typing import Any

import pytest

from shared.models.rules import Change, refuse
from tests.api import Device
from tests.rules import ruled
from tests.schemas.records import Json
from tests.server import server_push
from tests.sharing import make_space


def words(refused: dict[str, dict[str, str]]) -> dict[str, str]:
    """The word of each refused id."""
    return {id_: word for found in refused.values() for id_, word in found.items()}


def folder(id_: str, parent: str | None = None, title: str = "x") -> Json:
    return {"id": id_, "title": title, "parent_id": parent}


def no_bad(change: Change) -> Any:
    return refuse("bad") if change.after and change.after["title"] == "bad" else None


def live(device: Device, table: str) -> set[str]:
    device.pull()
    return {*device.rows[table]}


@pytest.mark.parametrize("is_reversed", [False, True])
def test_what_is_under_a_refused_row_of_a_tree_is_refused_in_any_order(
    device: Device, is_reversed: bool
) -> None:
    folders = [
        folder("root"),
        folder("bad", "root", title="bad"),
        folder("child", "bad"),
        folder("grandchild", "child"),
        folder("sibling", "root"),
    ]
    if is_reversed:
        folders.reverse()
    joins = [
        {"id": f"join-{name}", "folder_id": name, "tag_id": "t"} for name in ("root", "grandchild")
    ]
    note = {"id": "note", "body": "", "folder_id": "bad", "tag_id": None, "author_ref": ""}
    with ruled(folders=no_bad):
        answer = device.push(
            folder_tags={"created": joins},
            notes={"created": [note]},
            folders={"created": folders},
            tags={"created": [{"id": "t", "label": "t", "broader_id": None}]},
        )
    refused = ("bad", "child", "grandchild", "join-grandchild")
    assert words(answer["refusedReasons"]) == dict.fromkeys(refused, "bad")
    assert live(device, "folders") == {"root", "sibling"}
    assert live(device, "folder_tags") == {"join-root"}
    # It does not go with its folder, it is cleared.
    assert device.rows["notes"]["note"]["folder_id"] is None


def test_a_circle_is_refused_whole(device: Device) -> None:
    def not_e(change: Change) -> Any:
        return refuse("bad") if change.after and change.after["id"] == "e2" else None

    hens = [{"id": f"h{n}", "egg_id": f"e{n}"} for n in (1, 2)]
    eggs = [{"id": f"e{n}", "hen_id": f"h{n}"} for n in (1, 2)]
    with ruled(eggs=not_e):
        answer = device.push(hens={"created": hens}, eggs={"created": eggs})
    assert words(answer["refusedReasons"]) == {"e2": "bad", "h2": "bad"}
    assert (live(device, "hens"), live(device, "eggs")) == ({"h1"}, {"e1"})


def test_what_is_deleted_with_a_row_that_a_rule_keeps_is_kept(device: Device) -> None:
    def keep(change: Change) -> Any:
        is_kept = change.after is None and change.before["title"] == "keep"
        return refuse("kept") if is_kept else None

    kept = [folder("a", title="keep"), folder("b", "a"), folder("c", "b")]
    gone = [folder("d"), folder("e", "d")]
    joins = [{"id": f"join-{name}", "folder_id": name, "tag_id": "t"} for name in ("c", "e")]
    tag = {"id": "t", "label": "t", "broader_id": None}
    device.push(
        folders={"created": kept + gone}, folder_tags={"created": joins}, tags={"created": [tag]}
    )
    device.pull()
    ids = [row["id"] for row in (*reversed(kept), *reversed(gone))]
    with ruled(folders=keep):
        answer = device.push(
            folder_tags={"deleted": [row["id"] for row in joins]}, folders={"deleted": ids}
        )
    refused = ("a", "b", "c", "join-c")
    assert words(answer["refusedReasons"]) == dict.fromkeys(refused, "kept")
    assert live(device, "folders") == {"a", "b", "c"}
    assert live(device, "folder_tags") == {"join-c"}


@pytest.mark.parametrize("is_servers", [False, True])
def test_rules_see_a_tree_from_its_root_down(device: Device, is_servers: bool) -> None:
    def path(change: Change) -> Any:
        if change.after is None or change.after["parent_id"] is None:
            return None
        above = change.find("folders", change.after["parent_id"])
        assert above, "it comes before what is under it"
        return {"title": f"{above['title']}/{change.after['id']}"}

    folders = [folder(str(n), str(n - 1) if n else None, title="0") for n in range(40)]
    with ruled(folders=path):
        changes = {"folders": {"created": folders[::-1]}}
        if is_servers:
            server_push(device.user_id, **changes)
        else:
            device.push(**changes)
    device.pull()
    assert device.rows["folders"]["39"]["title"] == "/".join(map(str, range(40)))


def test_a_rule_may_give_a_row_another_parent_or_none(device: Device) -> None:
    def adopt(change: Change) -> Any:
        parent = {"orphan": "root", "lost": "no-such-folder", "odd": "no id"}
        return {"parent_id": parent.get(change.after["id"])} if change.after else None

    folders = [folder("root"), *(folder(name, "root") for name in ("orphan", "lost", "odd", "x"))]
    with ruled(folders=adopt):
        answer = device.push(folders={"created": folders})
    assert sorted(answer["repaired"]["folders"]) == ["lost", "odd", "x"]
    assert answer["upToDate"] is False
    assert live(device, "folders") == {"root", "orphan", "x"}
    assert device.rows["folders"]["orphan"]["parent_id"] == "root"
    assert device.rows["folders"]["x"]["parent_id"] is None


def test_what_is_under_a_shareable_row_that_has_no_space_is_refused(device: Device) -> None:
    shelves = [
        {"id": "upper", "title": "", "shelf_id": "lower", "space_id": None},
        {"id": "lower", "title": "", "shelf_id": None, "space_id": "no-such-space"},
    ]
    answer = device.push(shelves={"created": shelves})
    assert words(answer["refusedReasons"]) == dict.fromkeys(("upper", "lower"), "no_such_space")
    pushed = server_push(device.user_id, shelves={"created": shelves})
    assert words(pushed.refused) == dict.fromkeys(("upper", "lower"), "no_such_space")
    assert live(device, "shelves") == set()


def test_a_shared_space_has_no_rows_of_a_table_that_is_never_shared(device: Device) -> None:
    space = make_space(device)
    shelf = {"id": "shelf", "title": "", "shelf_id": None}
    pushed = server_push(
        space,
        shelves={"created": [shelf]},
        folders={"created": [folder("f")], "deleted": ["not-there"]},
    )
    assert words(pushed.refused) == {"f": "no_such_space"}
    assert live(device, "shelves") == {"shelf"}
