"""What the processes of a service do around its requests: gunicorn's hooks (deploy/gunicorn.conf.py)."""

import ctypes
import gc
import importlib
import os
import shutil
import signal
from typing import Any

# Memory that is free again goes back to the system, where its C library is glibc. An arena for each
# thread would keep what a large push took, several times over.
LIBC = ctypes.CDLL(None)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
if hasattr(LIBC, "malloc_trim"):
    LIBC.mallopt(M_ARENA_MAX, 2)
#: Bodies from this size on leave enough behind to be worth some milliseconds.
TRIMMED_BYTES = 1024 * 1024

#: What runs in the background of an application: mail leaves the auth service, and of make run, which has no
#: process of its own for that, webhooks do.
BACKGROUND = ("sender", "deliverer")


def on_starting(server: Any) -> None:
    """Load the code once, before the first worker: each then only has to build its application.

    When all workers are killed, a busy machine would otherwise be busy for long before it serves again.
    """
    # Code stays as long as the process. Collecting none of it makes starts and ends shorter by a half,
    # and leaves workers the memory that they share.
    gc.disable()
    importlib.import_module(server.app.app_uri.split(":")[0])
    gc.freeze()
    gc.enable()


def post_request(_worker: Any, _request: Any, environ: dict[str, Any], _answer: Any) -> None:
    """Give back the memory that a large body took."""
    is_large = int(environ.get("CONTENT_LENGTH") or 0) >= TRIMMED_BYTES
    # In chunks it may have been as large as any.
    if (is_large or "HTTP_TRANSFER_ENCODING" in environ) and hasattr(LIBC, "malloc_trim"):
        LIBC.malloc_trim(0)


def child_exit(_server: Any, worker: Any) -> None:
    """Let what a dead process was doing be counted no longer."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)


def on_exit(_server: Any) -> None:
    """Leave nothing behind."""
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


def post_worker_init(worker: Any) -> None:
    """Leave signals of a terminal to the master, and start what runs in the background.

    A terminal sends Ctrl-C, and its own end, to all of them. A worker that is told twice at once may lock
    itself up, and one that the terminal's end reaches would be gone in the middle of its requests.
    Where passwords are hashed, memory that a hash has used is kept for the next.
    """
    from shared.auth.reconciler import start_reconciler

    for one in (signal.SIGINT, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)
    extensions = getattr(worker.wsgi, "extensions", {})
    # A hash takes 19 MiB; with so few arenas they would come from the system anew for most.
    if "hashing" in extensions and hasattr(LIBC, "malloc_trim"):
        LIBC.mallopt(M_MMAP_THRESHOLD, 32 * 1024 * 1024)
        LIBC.mallopt(M_TRIM_THRESHOLD, 128 * 1024 * 1024)
    # make run, which has no Redis, is three applications in one.
    if os.environ.get("REDIS_URL"):
        start_reconciler(worker.wsgi)
    for name in BACKGROUND:
        if name in extensions:
            extensions[name].start()


def worker_exit(_server: Any, worker: Any) -> None:
    """Let the mail and the changes arrive that are being sent."""
    # One that could not start has no application.
    extensions = getattr(getattr(worker, "wsgi", None), "extensions", {})
    for name in BACKGROUND:
        if name in extensions:
            extensions[name].stop()
