"""Requests all the time, and waiting for what must come true."""

import http.client
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.api import Device, project, wire

log = logging.getLogger(__name__)


@contextmanager
def load(device: Device) -> Iterator[list[int]]:
    """Pull and push from four threads; the statuses of all answers, 0 for none.

    A hundred requests a second meet whatever happens, and leave the processors to it. What else than
    200 was answered, and when, is logged: pytest shows it if the test fails.
    """
    statuses: list[int] = []
    done = threading.Event()

    def work() -> None:
        own = Device(device.api, device.email, device.tokens)
        while not done.is_set():
            for call in (
                lambda: own.pull_raw(1),
                lambda: own.push_raw({"projects": {"created": [wire(project())]}}),
                lambda: own.api.get("/users/me", token=own.token),
                lambda: own.api.get("/auth/sessions", token=own.token),
            ):
                try:
                    answer = call()
                    status, said = answer.status_code, answer.text
                except (OSError, http.client.HTTPException) as error:
                    status, said = 0, repr(error)
                statuses.append(status)
                if status != 200:
                    log.warning("%s %s", status, said)
                done.wait(0.03)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        done.set()
        for thread in threads:
            thread.join()


def eventually(holds: Callable[[], Any], seconds: float = 30) -> Any:
    """What `holds` returns, once that is true and no error."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := holds():
                return found
        except (OSError, http.client.HTTPException, AssertionError):
            pass
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
