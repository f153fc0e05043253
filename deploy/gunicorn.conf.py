"""gunicorn's settings for every service. Processes: `WEB_CONCURRENCY`; address: `--bind`."""

import ctypes
import importlib
import os
import shutil
import signal
import socket
import tempfile
from typing import Any

#: By IPv6 too where the machine has it. Who runs several instances on one machine gives `--bind`.
bind = "[::]:8000" if socket.has_dualstack_ipv6() else "0.0.0.0:8000"
worker_class = "shared.web.server.Worker"
#: Bytes of a request line (shared/web/server.py lets gunicorn go that far).
limit_request_line = 32 * 1024
#: Its own words only when something is wrong: requests are logged by the services.
loglevel = "warning"
#: Signals are enough to control it.
control_socket_disable = True
#: Threads of a process: requests wait for the database most of their time.
threads = 8
#: Longer than any keep-alive of nginx, so that a service never closes a connection that nginx uses.
keepalive = 75
#: Seconds that running requests get when the service is stopped.
graceful_timeout = 30
#: Heartbeats go to memory, where there is one to write to: a slow disk must not look like a hung worker.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


# Memory that is free again goes back to the system, where its C library is glibc. An arena for each
# thread would keep what a large push took, several times over.
LIBC = ctypes.CDLL(None)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
if hasattr(LIBC, "malloc_trim"):
    LIBC.mallopt(M_ARENA_MAX, 2)
#: Bodies from this size on leave enough behind to be worth some milliseconds.
TRIMMED_BYTES = 1024 * 1024

# Where the processes of a service put their counts together. Not anew when this file is read again on
# a reload: the counts go on.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="metrics-")

#: Its own words in the form of all others.
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.orjson.OrjsonFormatter",
            "fmt": "%(levelname)s %(name)s %(message)s",
            "rename_fields": {"levelname": "level", "name": "service", "message": "event"},
            "timestamp": "time",
        }
    },
    "handlers": {
        "out": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}
    },
    "root": {"level": "WARNING", "handlers": []},
    "loggers": {"gunicorn.error": {"level": "WARNING", "handlers": ["out"], "propagate": False}},
}


#: What runs in the background of an application: mail leaves the auth service, and of make run, which has no
#: process of its own for that, webhooks do.
BACKGROUND = ("sender", "deliverer")


def on_starting(server: Any) -> None:
    """Load the code once, before the first worker: each then only has to build its application.

    When all workers are killed, a busy machine would otherwise be busy for long before it serves again.
    """
    importlib.import_module(server.app.app_uri.split(":")[0])


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
    """Leave Ctrl-C to the master, which stops its workers; send mail, keep the lists of revoked
    sessions.

    Where passwords are hashed, memory that a hash has used is kept for the next.

    A terminal sends it to all of them, and a worker that is told twice at once may lock itself up.
    """
    from shared.auth.revocations import start_reconciler

    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
