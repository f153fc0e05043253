"""The process that tells receivers what changes, with its health and metrics beside."""

import signal
import socket
import threading

import click
from werkzeug.serving import WSGIRequestHandler, make_server

from services.sync.webhooks.app import create_app
from services.sync.webhooks.deliverer import Deliverer
from shared.app import refuse_to_start

#: By IPv6 too where the machine has it.
EVERYWHERE = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104


class Quiet(WSGIRequestHandler):
    """Leaves the log to the application."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write nothing."""


@click.command()
@click.option("--host", default=EVERYWHERE)
@click.option("--port", default=8000)
def main(host: str, port: int) -> None:
    """Deliver until SIGTERM or SIGINT, and serve health and metrics."""
    app, told = create_app(), threading.Event()
    if not app.extensions["receivers"]:
        refuse_to_start("webhooks", "WEBHOOKS_FILE: Name the file with those who are to be told.")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    server = make_server(host, port, app, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    deliverer = Deliverer(app)
    deliverer.start()
    told.wait()
    deliverer.stop()
    server.shutdown()


if __name__ == "__main__":
    main()
