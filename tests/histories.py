"""What all random histories of devices have: those of the demo's tables, and those of random schemas."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.api import Api, Device
from tests.watermelon_model import ModelDevice

#: By table and id.
Rows = dict[str, dict[str, dict[str, Any]]]

DEVICES = 3
which = st.integers(0, DEVICES - 1)
pick = st.integers(0, 1000)
lost = st.sampled_from(["", "", "request", "answer", "twice", "late"])


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
        # Twice around: what the first round pushes, the second brings to all.
        for _ in range(2):
            for device in self.devices:
                device.sync()
        for device in self.devices:
            device.pull()
        newcomer = self.device(self.devices[0].api.another())
        newcomer.sync()
        self.check_end(newcomer.rows(), newcomer)

    def check_end(self, end: Rows, newcomer: ModelDevice) -> None:
        for device in self.devices:
            assert device.rows() == end
            assert device.local_changes() == newcomer.local_changes()
