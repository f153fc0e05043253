"""What the HTTP servers of the tests' own have in common."""

import threading
from http.server import ThreadingHTTPServer
from typing import Self


class Serving:
    """Serves in a thread of its own, as long as somebody is in its block."""

    server: ThreadingHTTPServer

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
