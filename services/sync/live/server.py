"""The server of the sockets, which answers as the sync service does where no WebSocket is asked for."""

import asyncio
import logging
import resource
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click
from flask import Flask
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from services.sync import create_app
from services.sync.live.sockets import MAX_HELLO, Connection, Live
from shared.observability.logging import sane_request_id

#: What the library says of its own: bugs.
library_log = logging.getLogger("services.sync.live.library")
library_log.setLevel(logging.ERROR)

PATH = "/v1/sync/live"
#: A socket that does not answer a ping within the second of these is gone.
PING_S, PONG_S = 25, 20


class Front:
    """What stands between HTTP and the sockets."""

    def __init__(self, live: Live) -> None:
        self.live = live

    async def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer what is no WebSocket as the sync service does, its health and metrics above all."""
        assert isinstance(connection, Connection)  # noqa: S101
        connection.request_id = sane_request_id(request.headers.get("X-Request-ID", ""))
        path = request.path.partition("?")[0]
        if path == PATH and "Upgrade" in request.headers:
            return None
        if path == "/readyz":
            return await self.live.ask(self.as_service, path, connection.request_id)
        return self.as_service(path, connection.request_id)

    def check(
        self, connection: ServerConnection, request: Request, response: Response
    ) -> Response | None:
        """Answer what asks for an upgrade and is no WebSocket, in the form of all errors."""
        assert isinstance(connection, Connection)  # noqa: S101
        if response.status_code == 101:
            response.headers["X-Request-ID"] = connection.request_id
        elif "X-Request-ID" not in response.headers:
            # The library's own.
            return self.as_service(PATH, connection.request_id)
        return None

    def as_service(self, path: str, request_id: str) -> Response:
        """Return what the sync service answers to a GET without a token."""
        headers = {"X-Request-ID": request_id}
        answer = self.live.app.test_client().get(path, headers=headers)
        phrase = answer.status.partition(" ")[2]
        return Response(answer.status_code, phrase, Headers(answer.headers.items()), answer.data)

    @asynccontextmanager
    async def serving(self, host: str | None, port: int) -> AsyncIterator[Server]:
        """Serve, without a host on every address; in the end close all sockets with 1001."""
        if self.live.app.config["REDIS_URL"]:
            loop = asyncio.get_running_loop()
            threading.Thread(target=self.live.hear, args=[loop], name="hear", daemon=True).start()
        watch = asyncio.create_task(self.live.watch())
        async with serve(
            self.live.handle,
            host,
            port,
            compression=None,
            process_request=self.answer,
            process_response=self.check,
            server_header=None,
            ping_interval=PING_S,
            ping_timeout=PONG_S,
            max_size=MAX_HELLO,
            logger=library_log,
            create_connection=Connection,
            backlog=1024,
        ) as server:
            yield server
        watch.cancel()


async def serve_until_told(app: Flask, host: str | None, port: int) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP sends all clients away, who come back, maybe by another way."""
    live, stop = Live(app), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: live.close(live.everybody(), 1001, "Come back."))
    async with Front(live).serving(host, port):
        await stop.wait()


@click.command()
@click.option("--host")
@click.option("--port", default=8000)
def main(host: str | None, port: int) -> None:
    """Serve /v1/sync/live, and health and metrics beside it."""
    # A file for each socket; a system's own limit is meant for programs that know no better.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    app = create_app()
    with app.app_context():
        asyncio.run(serve_until_told(app, host, port))


if __name__ == "__main__":
    main()
