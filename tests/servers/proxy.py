"""An address in front of a server: pointed to another one, gone silent, or broken at will."""

import socket
import threading
from contextlib import suppress


class Proxy:
    """Forwards what connects to `port` to the server on port `target`."""

    def __init__(self, target: int) -> None:
        #: Where new connections go. Those that are open stay where they are.
        self.target = target
        #: Bytes that answers may still take before every connection breaks.
        self.allowed = float("inf")
        self.silent: set[socket.socket] = set()
        self.open: set[socket.socket] = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()
        self.break_all()

    def swallow(self) -> None:
        """Forward nothing more on any connection that is open now, and say nothing of it."""
        self.silent |= self.open

    def break_all(self) -> None:
        """Close all connections."""
        for one in list(self.open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    near.close()
                    continue
                self.open |= {near, far}
                for source, sink in ((near, far), (far, near)):
                    answers = source is far
                    pump = threading.Thread(
                        target=self.pump, args=(source, sink, answers), daemon=True
                    )
                    pump.start()

    def pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if source in self.silent:
                    continue
                if answers:
                    self.allowed -= len(data)
                    if self.allowed < 0:
                        self.break_all()
                        break
                sink.sendall(data)
        for one in (source, sink):
            if one not in self.silent:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        self.open.discard(source)
        source.close()
