"""gunicorn's worker of every service."""

import logging
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn

from shared.web.server import Worker
from tests.conftest import ROOT

#: Leaves 100 MB free below one piece that is in use, as requests do, and prints what stays in memory.
PUSH = """
import os, runpy, sys
settings = runpy.run_path("deploy/gunicorn.conf.py")
pieces = [bytes(5000) for _ in range(20_000)]
last = pieces[-1]
del pieces
settings["post_request"](None, None, {"CONTENT_LENGTH": sys.argv[1]}, None)
print(int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
"""

#: What a terminal sends to all processes that it has started reaches a worker.
TERMINAL = """
import os, signal
from types import SimpleNamespace
from shared.hooks import post_worker_init
post_worker_init(SimpleNamespace(wsgi=None))
for one in (signal.SIGINT, signal.SIGHUP):
    os.kill(os.getpid(), one)
"""


def test_signals_of_a_terminal_are_left_to_the_master() -> None:
    environ = {**os.environ, "REDIS_URL": ""}
    subprocess.run([sys.executable, "-c", TERMINAL], cwd=ROOT, env=environ, check=True)


def test_a_signal_to_end_waits_for_no_lock_that_the_main_thread_may_hold() -> None:
    worker = Worker(1, os.getppid(), [], None, 30, Config(), None)
    worker.tpool = worker.get_thread_pool()
    worker.method_queue.init()
    # As in the middle of `submit`. A handler runs in the thread that holds it; another one can give up.
    with worker.tpool._shutdown_lock:
        handler = threading.Thread(target=worker.handle_quit, args=(signal.SIGQUIT, None))
        handler.start()
        handler.join(5)
        assert not handler.is_alive()
    assert not worker.alive
    worker.method_queue.close()
    worker.tmp.close()
    worker.tpool.shutdown()


def test_a_worker_without_its_master_ends_as_if_it_had_told_it_to() -> None:
    worker = Worker(1, os.getppid(), [], None, 30, Config(), logging.getLogger())
    assert worker.is_parent_alive()
    assert worker.alive
    worker.ppid = -1
    try:
        assert not worker.is_parent_alive()
    finally:
        killed_in_s = signal.alarm(0)
    # What an answer's `Connection: close`, and threads that stay, go by.
    assert not worker.alive
    assert killed_in_s > worker.cfg.graceful_timeout
    worker.tmp.close()


def test_who_was_not_told_that_the_worker_ends_is_told_by_the_next_answer() -> None:
    config = Config()
    worker = Worker(1, os.getppid(), [], None, 30, config, Logger(config))

    def ends(_environ: Any, start: Any) -> list[bytes]:
        # As by a signal while it works.
        worker.alive = False
        start("200 OK", [("Content-Length", "0")])
        return []

    worker.wsgi, worker.nr_conns = ends, 1
    client, server = socket.socketpair()
    client.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n" * 2)
    client.shutdown(socket.SHUT_WR)
    with client, server:
        assert not worker.handle(TConn(config, server, ("127.0.0.1", 1), ("127.0.0.1", 2)))
        answers = client.makefile("rb").read()
    worker.tmp.close()
    assert re.findall(rb"Connection: ([\w-]+)", answers) == [b"keep-alive", b"close"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc's malloc")
def test_the_memory_of_a_large_body_goes_back_to_the_system(tmp_path: Path) -> None:
    def stays(length: int) -> int:
        environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        command = [sys.executable, "-c", PUSH, str(length)]
        return int(subprocess.check_output(command, cwd=ROOT, env=environ))

    assert stays(100) > 100_000_000
    assert stays(10_000_000) < 60_000_000
