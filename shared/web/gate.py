"""The limit of requests that a process works on at a time: fewer than its threads.

So a thread is left for the liveness answer, whatever the others wait for. A request waits for its turn
while others come to their end; when none does, those without a turn are refused at once.
"""

import time
from threading import Condition

from flask import Flask, request

from shared.database.engines import AT_ONCE
from shared.observability import metrics
from shared.web.errors import Unavailable

#: Seconds without a beginning or an end of any request after which they count as stuck.
STUCK_S = 2


class Gate:
    """So many `places`, and who waits for one."""

    def __init__(self, places: int) -> None:
        self.free = places
        self.moved_at = 0.0
        self.changed = Condition()

    def enter(self) -> bool:
        """Take a place; False when all are taken and nothing has moved for too long."""
        with self.changed:
            while not self.free:
                patience = self.moved_at + STUCK_S - time.monotonic()
                if patience <= 0:
                    return False
                self.changed.wait(patience)
            self.free -= 1
            self.moved_at = time.monotonic()
            return True

    def leave(self) -> None:
        """Give a place back."""
        with self.changed:
            self.free += 1
            self.moved_at = time.monotonic()
            self.changed.notify()


#: Of the process: with `make run` all three services share its threads.
GATE = Gate(AT_ONCE)
#: Where a request's environment says that it has a place.
PLACE = "gate.place"
#: What waits for nothing.
FREE = ("health.healthz", "metrics")


def init_app(app: Flask) -> None:
    """Let every request in, one after the other if need be, but those that wait for nothing."""

    @app.before_request
    def enter() -> None:
        if request.endpoint in FREE:
            return
        if not GATE.enter():
            metrics.TURNED_AWAY.inc()
            raise Unavailable("The server is busy. Try again shortly.")
        request.environ[PLACE] = True

    @app.teardown_request
    def leave(_error: BaseException | None) -> None:
        # Of an answer that is streamed, at its end.
        if request.environ.pop(PLACE, False):
            GATE.leave()
