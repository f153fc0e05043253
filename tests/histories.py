"""What all random histories of devices have: those of the demo's tables, and those of random schemas."""

import os
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.api import Api, Device
from tests.watermelon_model import ModelDevice

#: By table and id.
Rows = dict[str, dict[str, dict[str, Any]]]

DEVICES = 3
which = st.integers(0, DEVICES - 1)
pick = st.integers(0, 1000)
lost = st.sampled_from(["", "", "request", "answer", "twice", "late"])


def tried(examples: int) -> int:
    """How many examples are tried here: on SQLite half of them, since the same code decides there."""
    return examples // 2 if os.environ["DATABASE_URL"].startswith("sqlite") else examples


def run_histories(machine: type[RuleBasedStateMachine], *, examples: int, steps: int) -> None:
    """Run so many random histories, or half of them on SQLite, of so many steps at most."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=tried(examples),
            stateful_step_count=steps,
            deadline=None,
            # Not shrunk: that takes longer than a test may, and the steps are few.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def meet(devices: Sequence[ModelDevice], rounds: int = 2) -> None:
    """Let devices sync until all have everything: what a round pushes, the next one brings to the others."""
    for _ in range(rounds):
        for device in devices:
            device.sync()
    for device in devices:
        device.pull()


class Devices(RuleBasedStateMachine):
    """Three devices of one user."""

    api: Api

    def begin(self) -> None:
        first = self.api.register()
        others = [first.another() for _ in range(DEVICES - 1)]
        self.devices = [self.device(api) for api in (first, *others)]
        # Like many an app.
        self.devices[-1].tells_last_pulled_at = False

    def device(self, api: Device) -> ModelDevice:
        return ModelDevice(api)

    @rule(number=which, other=which)
    def sync_between_each_others_pull_and_push(self, number: int, other: int) -> None:
        self.devices[number].pull()
        if other != number:
            self.devices[other].sync()
        self.devices[number].push()

    def teardown(self) -> None:
        """Let the devices meet, and hold them against one that comes last."""
        if not hasattr(self, "devices"):
            return
        meet(self.devices)
        newcomer = self.device(self.devices[0].api.another())
        newcomer.sync()
        self.check_end(newcomer.rows(), newcomer)

    def check_end(self, end: Rows, newcomer: ModelDevice) -> None:
        for device in self.devices:
            assert device.rows() == end
            assert device.local_changes() == newcomer.local_changes()
