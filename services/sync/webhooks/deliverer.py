"""Telling every receiver what waits for it, each in a thread of its own."""

import logging
import threading
import time
import uuid
from http.client import HTTPException

from flask import Flask
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services.sync.webhooks import batches
from services.sync.webhooks.batches import Batch
from services.sync.webhooks.requests import ANSWER_S, post
from shared.database.errors import DeadlineExceeded
from shared.now import now_ms
from shared.observability import metrics
from shared.receivers import Receiver

log = logging.getLogger(__name__)

#: How often a receiver's outbox is looked at, and at most while the database does not answer.
ROUND_S, MAX_PAUSE_S = 0.5, 30.0
#: How often what waits is counted.
MEASURE_S = 5.0
#: For an attempt and its end; less than a process gets to end in.
STOP_S = 20


class Deliverer:
    """All receivers of a process."""

    def __init__(self, app: Flask) -> None:
        self.app, self.id = app, str(uuid.uuid4())
        self.stopped = threading.Event()
        receivers: dict[str, Receiver] = app.extensions["receivers"]
        self.couriers = [Courier(self, receiver) for receiver in receivers.values()]

    def start(self) -> None:
        """Begin, in the background of this process."""
        for courier in self.couriers:
            courier.thread.start()

    def stop(self) -> None:
        """Begin no other attempt, wait for those under way, and leave the receivers to others."""
        self.stopped.set()
        deadline = time.monotonic() + STOP_S
        for courier in self.couriers:
            if courier.thread.is_alive():
                courier.thread.join(max(deadline - time.monotonic(), 0))
        try:
            with self.app.app_context():
                batches.release(self.id)
        except (DBAPIError, PoolTimeout):
            # They are free in half a minute.
            log.warning("webhooks_still_held")


class Courier:
    """Tells one receiver what waits for it."""

    def __init__(self, deliverer: Deliverer, receiver: Receiver) -> None:
        self.deliverer, self.receiver = deliverer, receiver
        self.thread = threading.Thread(
            target=self.run, name=f"courier {receiver.name}", daemon=True
        )
        self.pause_s = ROUND_S
        self.is_entered = False
        self.measure_at = 0.0

    def run(self) -> None:
        """Do round after round until the deliverer is stopped. No failure ends the thread."""
        while not self.deliverer.stopped.wait(self.pause_s):
            with self.deliverer.app.app_context():
                self.round_or_wait()

    def round_or_wait(self) -> None:
        """Do a round; wait ever longer for a database that does not answer, and say so once."""
        try:
            self.round()
        except (DBAPIError, PoolTimeout, DeadlineExceeded) as error:
            if self.pause_s == ROUND_S:
                cause = type(error).__name__
                log.error(
                    "outbox_unreadable", extra={"receiver": self.receiver.name, "cause": cause}
                )
            self.pause_s = min(2 * self.pause_s, MAX_PAUSE_S)
        except Exception:
            metrics.BUGS.inc()
            log.exception("bug")
            self.pause_s = MAX_PAUSE_S
        else:
            self.pause_s = ROUND_S

    def round(self) -> None:
        """Send one batch after the other, as long as there is one and the receiver takes them."""
        name, me = self.receiver.name, self.deliverer.id
        if not self.is_entered:
            batches.enter(name)
            self.is_entered = True
        self.measure()
        while not self.deliverer.stopped.is_set() and batches.has_due(name):
            batch = batches.take(name, me)
            if batch is None:
                return
            if batch.held_until < now_ms() + ANSWER_S * 1000:
                # The database took its time, and another process would begin before this attempt ends.
                continue
            self.deliver(batch)
            self.measure()

    def deliver(self, batch: Batch) -> None:
        """Send a batch, and note what came of it."""
        said = self.send(batch)
        settled = batches.settle(
            self.receiver.name, self.deliverer.id, batch, is_delivered=said is None
        )
        metrics.WEBHOOK_DELIVERIES.labels("delivered" if said is None else "failed").inc()
        fields = {
            "receiver": self.receiver.name,
            "webhook_id": batch.id,
            "changes": batch.changes,
            "attempt": batch.attempts + 1,
        } | (said or {})
        if said is None:
            log.info("webhook_delivered", extra=fields)
        elif settled and settled.is_given_up:
            metrics.WEBHOOK_DELIVERIES.labels("given_up").inc()
            log.error("webhook_given_up", extra=fields)
        else:
            # The first says it all. How long it lasts is what metrics are for.
            is_news = settled is not None and settled.failures == 1
            log.log(logging.WARNING if is_news else logging.DEBUG, "webhook_failed", extra=fields)

    def send(self, batch: Batch) -> dict[str, object] | None:
        """Send a batch; return why it is not delivered, None if it is."""
        try:
            status = post(self.receiver, batch.id, batch.body)
        except (OSError, HTTPException, ValueError) as error:
            return {"cause": type(getattr(error, "reason", None) or error).__name__}
        return None if 200 <= status < 300 else {"status": status}

    def measure(self) -> None:
        """Tell the metrics what waits, now and then."""
        if time.monotonic() < self.measure_at:
            return
        self.measure_at = time.monotonic() + MEASURE_S
        name = self.receiver.name
        backlog = batches.measure(name)
        metrics.WEBHOOK_PENDING.labels(name).set(backlog.changes)
        metrics.WEBHOOK_OLDEST.labels(name).set(backlog.age_ms / 1000)
        metrics.WEBHOOK_FAILED.labels(name).set(backlog.failed)
