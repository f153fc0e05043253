"""What the rules of docs/rules.md do. Run by test_rules_page.py."""

from typing import Any

import pytest

from tests.api import Api, Device, new_id
from tests.sharing import join, make_space


def invoice(**values: Any) -> dict[str, Any]:
    own = {"customer": "Ann", "status": "draft", "is_approved": False, "space_id": None}
    return {"id": new_id()} | own | values


def line(invoice_id: str, **values: Any) -> dict[str, Any]:
    own = {"text": "x", "pieces": 3, "price": 1.5, "amount": 0, "invoice_id": invoice_id}
    return {"id": new_id()} | own | values


def words(answer: dict[str, Any]) -> dict[str, str]:
    """The word of each refused id."""
    return {id_: word for found in answer["refusedReasons"].values() for id_, word in found.items()}


def test_a_quota(device: Device) -> None:
    invoices = [invoice() for _ in range(120)]
    answer = device.push(invoices={"created": invoices})
    assert {*words(answer).values()} == {"too_many_invoices"}
    assert len(words(answer)) == 20
    device.pull()
    assert len(device.rows["invoices"]) == 100
    gone = next(iter(device.rows["invoices"]))
    lines = [line(r["id"]) for r in invoices]
    answer = device.push(
        invoices={"created": [invoice()], "deleted": [gone]}, invoice_lines={"created": lines[:1]}
    )
    assert words(answer) == {}


def test_what_is_under_what_the_quota_refuses_is_refused(device: Device) -> None:
    device.push(invoices={"created": [invoice() for _ in range(100)]})
    new = invoice()
    under = line(new["id"])
    answer = device.push(invoices={"created": [new]}, invoice_lines={"created": [under]})
    assert words(answer) == dict.fromkeys((new["id"], under["id"]), "too_many_invoices")


def test_a_state_machine(device: Device) -> None:
    one = invoice()
    assert words(device.push(invoices={"created": [one]})) == {}
    device.pull()
    for status, word in (
        ("sent", None),
        ("sent", None),
        ("draft", "no_way_back"),
        ("lost", "no_such_status"),
        ("paid", None),
        ("sent", "no_way_back"),
    ):
        answer = device.push(invoices={"updated": [one | {"status": status}]})
        assert words(answer) == ({one["id"]: word} if word else {}), status
        device.pull()
    assert device.rows["invoices"][one["id"]]["status"] == "paid"


def test_a_field_that_only_owners_may_set(api: Api, device: Device) -> None:
    ben = api.register()
    ben.rows = type(device.rows)(dict)
    space = make_space(device)
    join(device, space, ben, "writer")
    ben.pull()
    one = invoice(space_id=space, is_approved=True)
    answer = ben.push(invoices={"created": [one]})
    assert answer["repaired"] == {"invoices": [one["id"]]}
    device.pull()
    assert device.rows["invoices"][one["id"]]["is_approved"] is False
    answer = device.push(invoices={"updated": [one | {"is_approved": True}]})
    assert (answer["repaired"], answer["upToDate"]) == ({}, True)
    ben.pull()
    edit = one | {"customer": "Bea", "is_approved": False}
    ben.push(invoices={"updated": [edit]})
    ben.pull()
    assert ben.rows["invoices"][one["id"]] == edit | {"is_approved": True}


def test_a_computed_total(device: Device) -> None:
    one = invoice()
    ours, right = line(one["id"], amount=1), line(one["id"], amount=4.5)
    answer = device.push(invoices={"created": [one]}, invoice_lines={"created": [ours, right]})
    assert answer["repaired"] == {"invoice_lines": [ours["id"]]}
    device.pull()
    assert {row["amount"] for row in device.rows["invoice_lines"].values()} == {4.5}


@pytest.mark.parametrize("how", ["updated", "deleted"])
def test_an_immutable_record(device: Device, how: str) -> None:
    one = invoice()
    payment = {"id": new_id(), "sum": 5, "invoice_id": one["id"], "space_id": None}
    device.push(invoices={"created": [one]}, payments={"created": [payment]})
    device.pull()
    change = payment["id"] if how == "deleted" else payment | {"sum": 6}
    assert words(device.push(payments={how: [change]})) == {payment["id"]: "payments_are_final"}
    # Sent again as it is, it is no change.
    assert words(device.push(payments={"created": [payment]})) == {}
    device.push(invoices={"deleted": [one["id"]]})
    device.pull()
    assert device.rows["payments"] == {payment["id"]: payment}
