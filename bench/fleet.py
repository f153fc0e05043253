"""Simulated devices that sync without end, and know what the server has acknowledged."""

import http.client
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.api import PASSWORD, Device, Record, project, task
from tests.stack.http_api import HttpApi

GONE = (OSError, http.client.HTTPException)


class Member:
    """A device of a fleet: four of five times it pulls, else it pushes and pulls."""

    def __init__(self, device: Device, seed: int) -> None:
        self.device, self.random = device, random.Random(seed)
        self.project = project()
        #: Ids that the server has acknowledged, each with the tick that it answered first.
        self.acknowledged: dict[str, int] = {}
        self.answers: Counter[int] = Counter()
        #: When each request was answered, and whether with success.
        self.moments: list[tuple[float, bool]] = []
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
            for record in (self.project, *self.pushes):
                self.acknowledged.setdefault(record["id"], answer.json["timestamp"])
            self.pushes = []
        elif answer.status_code == 401:
            self.refresh()

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
        if answer.status_code == 401:
            # A restore ends all sessions.
            body = {"email": self.device.email, "password": PASSWORD}
            answer = self.device.api.post("/auth/login", body)
        if answer.status_code == 200:
            self.device.tokens |= answer.json

    def note(self, status: int) -> None:
        self.answers[status] += 1
        now = time.monotonic()
        self.moments.append((now, status == 200))
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
        """Return how many answers of each status; 0 for none at all."""
        return sum((member.answers for member in self.members), Counter())

    @property
    def longest_outage(self) -> float:
        """Return the longest time in seconds that a device got no answer."""
        return max(member.longest_outage for member in self.members)

    def during(self, since: float, until: float) -> tuple[int, float, float]:
        """Return what came of the requests between two moments: how many failed, when the last one did, and
        the longest time in which none of anybody's succeeded (seconds)."""
        moments = sorted(m for one in self.members for m in one.moments if since <= m[0] < until)
        failed = [moment for moment, is_fine in moments if not is_fine]
        served = [since, *(moment for moment, is_fine in moments if is_fine), until]
        longest = max(later - earlier for earlier, later in itertools.pairwise(served))
        return len(failed), max(failed, default=since), longest

    def check(self, lives: Callable[[int], bool]) -> tuple[int, int]:
        """Check that both devices of each user are equal, with all that was acknowledged to either
        and `lives` by its tick.

        Returns how many records there are, and how many were acknowledged and do not have to live.
        """
        total = given_up = 0
        half = len(self.members) // 2
        for one, other in zip(self.members[:half], self.members[half:], strict=True):
            for member in (one, other):
                member.pull()
                member.device.pull()
            fresh = one.device.another()
            fresh.pull()
            ticks = [*one.acknowledged.items(), *other.acknowledged.items()]
            lost = {id_ for id_, tick in ticks if not lives(tick)}
            first, second, there = (
                {id_: row for rows in device.rows.values() for id_, row in rows.items()}
                for device in (one.device, other.device, fresh)
            )
            assert {id_ for id_, tick in ticks if lives(tick)} <= there.keys(), "a push was lost"
            # Devices keep what they had seen of the lost time.
            for rows in (first, second):
                assert {id_: row for id_, row in rows.items() if id_ not in lost} == {
                    id_: row for id_, row in there.items() if id_ not in lost
                }, "devices differ"
            total += len(there)
            given_up += len(lost)
        return total, given_up
