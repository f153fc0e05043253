"""gunicorn's worker of every service."""

import os
import signal
import threading

from gunicorn.config import Config

from shared.web.server import Worker


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
