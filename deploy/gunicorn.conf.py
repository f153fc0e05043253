"""gunicorn's settings for every service. Processes: `WEB_CONCURRENCY`; address: `--bind`."""

import os
import socket
import tempfile

# gunicorn finds what it calls by the names that are here.
from shared.hooks import (  # noqa: F401
    child_exit,
    on_exit,
    on_starting,
    post_request,
    post_worker_init,
    worker_exit,
)

#: By IPv6 too where the machine has it. Who runs several instances on one machine gives `--bind`.
bind = "[::]:8000" if socket.has_dualstack_ipv6() else "0.0.0.0:8000"
worker_class = "shared.web.server.Worker"
#: Bytes of a request line (shared/web/server.py lets gunicorn go that far).
limit_request_line = 32 * 1024
#: Its own words only when something is wrong: requests are logged by the services.
loglevel = "warning"
#: Signals are enough to control it.
control_socket_disable = True
#: gunicorn believes nothing that a proxy says: the services do, by `TRUSTED_PROXIES`. So it need not look who
#: sends a request either, which would take a twentieth of a short one.
forwarded_allow_ips = "*"
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
#: Threads of a process: requests wait for the database most of their time.
threads = 8
#: Longer than any keep-alive of nginx, so that a service never closes a connection that nginx uses.
keepalive = 75
#: Seconds that running requests get when the service is stopped.
graceful_timeout = 30
#: Heartbeats go to memory, where there is one to write to: a slow disk must not look like a hung worker.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

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
