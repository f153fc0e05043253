"""gunicorn's worker of every service."""

import logging
import os
import platform
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from gunicorn.config import Config

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="is about glibc's malloc")
def test_the_memory_of_a_large_body_goes_back_to_the_system(tmp_path: Path) -> None:
    def stays(length: int) -> int:
        environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        command = [sys.executable, "-c", PUSH, str(length)]
        return int(subprocess.check_output(command, cwd=ROOT, env=environ))

    assert stays(100) > 100_000_000
    assert stays(10_000_000) < 60_000_000
