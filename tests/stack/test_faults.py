"""Nothing that was acknowledged is lost and no revoked token lives, whatever happens meanwhile."""

import logging

import pytest

from bench.faults import FAULTS
from bench.fleet import Fleet
from tests.api import assert_problem
from tests.servers.checkout import Checkout
from tests.stack.load import eventually


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_under_load_loses_no_push_and_revives_no_token(
    checkout: Checkout, name: str
) -> None:
    revoked = checkout.api.register()
    assert checkout.api.post("/auth/logout", token=revoked.token).status_code == 204
    with Fleet(checkout.api, devices=8, pause_s=0.05) as fleet:
        eventually(lambda: sum(fleet.answers.values()) > 40)
        FAULTS[name](checkout)
        # Each device is served again.
        eventually(lambda: all(member.failed_at is None for member in fleet.members))
        until = sum(fleet.answers.values()) + 40
        eventually(lambda: sum(fleet.answers.values()) > until)
    said = dict(fleet.answers)
    # No answer, or one that says to come again: never a bug, never a wrong refusal.
    assert said.keys() <= {0, 200, 502, 503, 504}, said
    assert fleet.longest_outage < 30
    records, _ = fleet.check(lambda _tick: True)
    assert_problem(checkout.api.get("/sync", token=revoked.token), 401, "unauthorized")
    logging.getLogger(__name__).info(
        "%s: %s, longest outage %.1f s, %d records", name, said, fleet.longest_outage, records
    )
