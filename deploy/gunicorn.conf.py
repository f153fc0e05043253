"""gunicorn's settings for every service. Processes: `WEB_CONCURRENCY`; address: `--bind`."""

import signal
from typing import Any

worker_class = "gthread"
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
#: Heartbeats go to memory: a slow disk must not look like a hung worker.
worker_tmp_dir = "/dev/shm"


def post_worker_init(_worker: Any) -> None:
    """Leave Ctrl-C to the master, which stops its workers.

    A terminal sends it to all of them, and a worker that is told twice at once may lock itself up.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
