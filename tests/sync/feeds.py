"""A reader of a space's changes, as an app's own server keeps one."""

from dataclasses import dataclass, field
from typing import Any

from tests.api import Record
from tests.service import Service

Change = dict[str, Any]
Key = tuple[str, str]


@dataclass
class Reader:
    """What is known of one space, and from where to go on. Nothing may come to it twice in one state."""

    service: Service
    space: str
    limit: int | None = None
    since: int = 0
    rows: dict[Key, Record] = field(default_factory=dict)
    #: The ticks of the states that came, by row, since everything was replaced last.
    seen: set[tuple[str, str, int]] = field(default_factory=set)
    replaced: int = 0
    cursor: str | None = None

    def page(self) -> dict[str, Any]:
        """Read the next page, and apply it."""
        answer: dict[str, Any] = self.service.get(
            "/changes", space=self.space, since=self.since, limit=self.limit, cursor=self.cursor
        )
        if answer.get("replacement") and self.cursor is None:
            self.rows, self.seen = {}, set()
            self.replaced += 1
        for change in answer["changes"]:
            self.apply(change, answer["timestamp"])
        self.cursor = answer.get("cursor")
        if self.cursor is None:
            self.since = answer["timestamp"]
        return answer

    def apply(self, change: Change, timestamp: int) -> None:
        assert change["tick"] <= timestamp
        state = (change["table"], change["id"], change["tick"])
        assert state not in self.seen, f"{state} came twice"
        self.seen.add(state)
        if change["deleted"]:
            assert change["record"] is None
            self.rows.pop(state[:2], None)
        else:
            assert change["record"]["id"] == change["id"]
            self.rows[state[:2]] = change["record"]

    def read(self) -> list[Change]:
        """Read on to the end; return the changes."""
        found: list[Change] = []
        timestamps = set()
        while True:
            answer = self.page()
            assert len(answer["changes"]) <= (self.limit or 1000)
            found += answer["changes"]
            timestamps.add(answer["timestamp"])
            if self.cursor is None:
                break
            assert len(answer["changes"]) == (self.limit or 1000)
        assert len(timestamps) == 1
        keys = [(c["tick"], c["table"], c["id"]) for c in found]
        assert keys == sorted(set(keys))
        return found
