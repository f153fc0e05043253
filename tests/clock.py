"""The wall clock of the services in this process, to be set by tests."""

from time import time_ns

import pytest


class Clock:
    """Real time, plus an offset."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.offset_ns = 0
        #: What each look at the clock adds.
        self.step_ns = 0
        patch.setattr("shared.now.time_ns", self.now_ns)

    def now_ns(self) -> int:
        self.offset_ns += self.step_ns
        return time_ns() + self.offset_ns

    def advance(self, *, seconds: float) -> None:
        self.offset_ns += int(seconds * 1_000_000_000)

    def reset(self) -> None:
        self.offset_ns = 0
