"""Live nudges of `make run`, which has no gateway: sockets come by the one port that it serves."""

import asyncio
import socket
import threading
from contextlib import suppress
from functools import cached_property
from typing import Any

from services.sync import create_app
from services.sync.live.server import PATH, Front
from services.sync.live.sockets import Live
from shared.web import server


class Worker(server.Worker):
    """A worker that hands requests for a WebSocket over to a server of them, in a thread of its own."""

    @cached_property
    def live_port(self) -> int:
        """Return where that server listens, from the first such request on."""
        ports: list[int] = []
        listens = threading.Event()

        async def serve() -> None:
            with app.app_context():
                async with Front(Live(app)).serving("127.0.0.1", 0) as serving:
                    ports.append(serving.sockets[0].getsockname()[1])
                    listens.set()
                    await serving.wait_closed()

        app = create_app()
        threading.Thread(target=asyncio.run, args=[serve()], name="live", daemon=True).start()
        listens.wait()
        return ports[0]

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request, or take its connection away from gunicorn."""
        if req.path != PATH or dict(req.headers).get("UPGRADE", "").lower() != "websocket":
            return super().handle_request(req, conn)
        lines = [f"GET {PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in req.headers)]
        there = socket.create_connection(("127.0.0.1", self.live_port))
        there.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        # gunicorn closes what it has, which from here on is nobody's.
        here, conn.sock = conn.sock, socket.socket()
        for source, sink in ((here, there), (there, here)):
            threading.Thread(target=pass_on, args=(source, sink), daemon=True).start()
        return False


def pass_on(source: socket.socket, sink: socket.socket) -> None:
    """Send what comes from `source` to `sink`, to the end of either."""
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
