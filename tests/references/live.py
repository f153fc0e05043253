"""Live nudges after a load (docs/api.md, "Live"). Run by tests/own_table."""

import asyncio
from typing import Any

import pytest
from flask import Flask

from services.sync.live import sockets
from services.sync.live.sockets import Live, Socket
from tests.api import new_id
from tests.references.conftest import Load, exercise

USERS = 12


def test_a_load_is_told_to_everybody_once_and_not_to_all_at_a_time(
    loader: Flask, load_rows: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "SPREAD_S", 0.2)
    monkeypatch.setattr(sockets, "TURNS", 4)
    told: list[tuple[float, str]] = []
    tick = load_rows("exercises", [exercise(new_id())]).timestamp

    def broadcast(connections: list[Any], text: str) -> None:
        for connection in connections:
            told.append((asyncio.get_running_loop().time(), connection))
            assert text == f'{{"timestamp":{tick}}}'

    monkeypatch.setattr(sockets, "broadcast", broadcast)

    async def run() -> None:
        live = Live(loader)
        for n in range(USERS):
            known = tick if n == 0 else tick - 1
            connection: Any = f"connection {n}"
            live.sockets[f"user {n}"] = {Socket(connection, f"user {n}", "session", known)}
        await live.ask_for_loads()
        assert live.spreading
        await live.spreading
        # Nothing new: nobody is told again.
        await live.ask_for_loads()
        assert live.spreading.done()
        # Who comes later is told at once.
        late: Any = "late"
        live.sockets["late"] = {Socket(late, "late", "session", 0)}
        live.due.add("late")
        live.admitted.add("late")
        await live.ask_clocks()

    asyncio.run(run())
    assert sorted(name for _, name in told) == sorted(
        ["late", *(f"connection {n}" for n in range(1, USERS))]
    )
    assert len({at for at, _ in told}) >= 4
