"""Simulated devices that sync without end, and know what the server has acknowledged."""

import http.client
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.api import Device, Record, project, task
from tests.stack.http_api import HttpApi

GONE = (OSError, http.client.HTTPException)


class Member:
    """A device of a fleet: four of five times it pulls, else it pushes and pulls."""

    def __init__(self, device: Device, seed: int) -> None:
        self.device, self.random = device, random.Random(seed)
        self.project = project()
        #: Ids of the tasks that the server has acknowledged.
        self.acknowledged: set[str] = set()
        self.answers: Counter[int] = Counter()
        #: Moments of an answer that was no success, and of the first success after it.
        self.failed_at: float | None = None
        self.longest_outage = 0.0
        self.pushes: list[Record] = []

    def step(self) -> None:
        """Do one thing. What gets no acknowledgement is pushed again by the next step."""
        try:
            if self.pushes or self.random.random() < 0.2:
                self.push()
            self.pull()
        except GONE:
            self.note(0)

    def push(self) -> None:
        if not self.pushes:
            self.pushes = [task(self.project["id"]) for _ in range(self.random.randint(1, 20))]
        body = {"projects": {"created": [self.project]}, "tasks": {"created": self.pushes}}
        answer = self.device.push_raw(body)
        self.note(answer.status_code)
        if answer.status_code == 200:
            self.acknowledged |= {record["id"] for record in self.pushes}
            self.pushes = []

    def pull(self) -> None:
        answer = self.device.pull_raw()
        self.note(answer.status_code)
        if answer.status_code == 200:
            for table, change in answer.json["changes"].items():
                rows = self.device.rows[table]
                rows |= {r["id"]: r for r in change["created"] + change["updated"]}
            self.device.last_pulled_at = answer.json["timestamp"]
        elif answer.status_code == 401:
            self.refresh()

    def refresh(self) -> None:
        answer = self.device.api.post("/auth/refresh", token=self.device.tokens["refreshToken"])
        if answer.status_code == 200:
            self.device.tokens |= answer.json

    def note(self, status: int) -> None:
        self.answers[status] += 1
        now = time.monotonic()
        if status != 200 and self.failed_at is None:
            self.failed_at = now
        elif status == 200 and self.failed_at is not None:
            self.longest_outage = max(self.longest_outage, now - self.failed_at)
            self.failed_at = None


class Fleet:
    """Two devices for each user."""

    def __init__(self, api: HttpApi, devices: int, pause_s: float) -> None:
        self.pause_s = pause_s
        first = [api.register() for _ in range(devices // 2)]
        second = [device.another() for device in first]
        self.members = [Member(device, n) for n, device in enumerate(first + second)]
        self.done = threading.Event()
        self.pool = ThreadPoolExecutor(len(self.members))

    def __enter__(self) -> "Fleet":
        self.running = [self.pool.submit(self.work, member) for member in self.members]
        return self

    def work(self, member: Member) -> None:
        while not self.done.wait(self.pause_s * member.random.random() * 2):
            member.step()

    def __exit__(self, *_: object) -> None:
        self.done.set()
        for future in self.running:
            future.result()
        self.pool.shutdown()

    @property
    def answers(self) -> Counter[int]:
        """How many answers of each status; 0 for none at all."""
        return sum((member.answers for member in self.members), Counter())

    @property
    def longest_outage(self) -> float:
        """Seconds that the unluckiest device had to do without."""
        return max(member.longest_outage for member in self.members)

    def check(self) -> int:
        """Both devices of each user end equal, and have all that was acknowledged to either.

        Returns the number of records.
        """
        total = 0
        half = len(self.members) // 2
        for one, other in zip(self.members[:half], self.members[half:], strict=True):
            for member in (one, other):
                member.device.pull()
            assert one.device.rows == other.device.rows
            fresh = one.device.another()
            fresh.pull()
            assert fresh.rows == one.device.rows
            acknowledged = one.acknowledged | other.acknowledged
            assert acknowledged <= fresh.rows["tasks"].keys(), "an acknowledged push was lost"
            total += len(fresh.rows["tasks"])
        return total
