"""gunicorn's settings for every service. Processes: `WEB_CONCURRENCY`; address: `--bind`."""

worker_class = "gthread"
#: Threads of a process: requests wait for the database most of their time.
threads = 8
#: Longer than any keep-alive of nginx, so that a service never closes a connection that nginx uses.
keepalive = 75
#: Seconds that running requests get when the service is stopped.
graceful_timeout = 30
#: Heartbeats go to memory: a slow disk must not look like a hung worker.
worker_tmp_dir = "/dev/shm"
