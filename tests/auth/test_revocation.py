"""A revoked token is refused at once, by every service, whatever Redis does (docs/design.md, invariant 4)."""

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from flask import Flask
from sqlalchemy import delete, insert, select, update

import services.auth
import services.sync
import services.users
from shared.auth import revocations
from shared.auth.reconciler import Reconciler
from shared.database.base import db
from shared.models import Restore, Revocation, Session
from shared.now import now_ms
from tests.api import PASSWORD, Api, Device, assert_problem, project
from tests.clock import Clock
from tests.conftest import Backend, promote_to_admin
from tests.servers import processes
from tests.servers.leases import GUARDED, Instance, Leases, list_of

with_redis = pytest.mark.backends("native", "mysql")

#: What ends the sessions of `device`, done by another session or by an administrator.
Ending = Callable[[Device, Device], object]

ENDINGS: dict[str, Ending] = {
    "logout": lambda device, _: device.api.post("/auth/logout", token=device.token),
    "logout by refresh token": lambda device, _: device.api.post(
        "/auth/logout", token=device.tokens["refreshToken"]
    ),
    "logout of all": lambda device, _: device.api.post(
        "/auth/logout-all", token=device.another().token
    ),
    "end of the session": lambda device, _: device.api.delete(
        f"/auth/sessions/{device.session_id}", token=device.another().token
    ),
    "change of the password": lambda device, _: device.api.put(
        "/users/me/password",
        {"currentPassword": PASSWORD, "newPassword": "another " + PASSWORD},
        token=device.another().token,
    ),
    "deactivation": lambda device, admin: device.api.patch(
        f"/users/{device.user_id}", {"isActive": False}, token=admin.token
    ),
    "deletion by an administrator": lambda device, admin: device.api.delete(
        f"/users/{device.user_id}", token=admin.token
    ),
    "deletion of the account": lambda device, _: device.api.delete(
        "/users/me", {"password": PASSWORD}, token=device.another().token
    ),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_every_end_of_a_session_is_recorded_and_refused_by_the_database(
    admin: Device, ending: Ending
) -> None:
    device = admin.api.register()
    # Other instances of the services, so that nothing rests on what one process remembers.
    without = {"REDIS_URL": ""}
    instances = {
        "/auth/sessions": Api(services.auth.create_app(**without)),
        "/users/me": Api(services.users.create_app(**without)),
        "/sync": Api(services.sync.create_app(**without)),
    }
    for path, instance in instances.items():
        assert instance.get(path, token=device.token).status_code == 200
    assert ending(device, admin).status_code in (200, 204)  # type: ignore[attr-defined]
    for path, instance in instances.items():
        assert_problem(instance.get(path, token=device.token), 401, "unauthorized")
    refused = device.api.post("/auth/refresh", token=device.tokens["refreshToken"])
    assert_problem(refused, 401, "unauthorized")
    # The session that did it by changing the password goes on, and so does everybody else's.
    assert device.api.get("/users/me", token=admin.token).status_code == 200
    with services.users.create_app().app_context():
        recorded = db.session.get(Revocation, device.session_id)
    assert recorded is not None
    assert recorded.shard == revocations.shard(device.user_id)


@pytest.fixture(scope="module")
def all_leases(backend: Backend, application: object) -> Iterator[Leases]:
    found = Leases(backend.new_place())
    yield found
    found.close()


@pytest.fixture
def leases(all_leases: Leases) -> Iterator[Leases]:
    all_leases.reset()
    yield all_leases
    all_leases.reset()


@pytest.fixture
def long_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that outlast a test, so that one which should not be believed still runs."""
    monkeypatch.setattr(revocations, "LEASE_MS", 600_000)
    monkeypatch.setattr(revocations, "LEASE_OVER_S", 600.5)


@pytest.fixture
def device(api: Api) -> Device:
    return api.register()


def listed(leases: Leases, device: Device) -> Device:
    """Let Redis decide for `device`, and see that it does."""
    assert leases.round()
    leases.trust()
    claims = jwt.decode(device.token, options={"verify_signature": False})
    for instance in leases.instances:
        with instance.app.app_context():
            answer = revocations.check(claims)
        assert answer
        assert not answer.is_revoked
        assert instance.get(device).status_code == 200
    return device


def log_out(leases: Leases, device: Device) -> None:
    assert leases.auth.api.post("/auth/logout", token=device.token).status_code == 204


def refused_everywhere(leases: Leases, device: Device) -> None:
    for instance in leases.instances:
        assert_problem(instance.get(device), 401, "unauthorized")


def guard_statements(instance: Instance, device: Device) -> int:
    """Return how many statements a guarded call of sync needs that has nothing new."""
    assert instance.path == GUARDED["sync"]
    with instance.statements() as statements:
        since = device.last_pulled_at
        answer = instance.api.get(
            "/sync", token=device.token, query_string={"last_pulled_at": since}
        )
    assert answer.status_code == 200
    assert answer.json["timestamp"] == since
    return len(statements)


@with_redis
@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_every_end_of_a_session_is_in_the_list(
    leases: Leases, device: Device, users_service: Flask, ending: Ending, long_leases: None
) -> None:
    admin = device.api.register()
    promote_to_admin(users_service, admin.email)
    listed(leases, device)

    class Three:
        """The three instances as one API."""

        def __getattr__(self, name: str) -> Any:
            def call(path: str, *arguments: Any, **kwargs: Any) -> Any:
                instance = next(i for i in leases.instances if path[:5] == i.path[:5])
                return getattr(instance.api, name)(path, *arguments, **kwargs)

            return call

        login = device.api.login

    by = Device(Three(), device.email, device.tokens)  # type: ignore[arg-type]
    by.another = device.another  # type: ignore[method-assign]
    assert ending(by, admin).status_code in (200, 204)  # type: ignore[attr-defined]
    for instance in leases.instances:
        with instance.statements() as statements:
            assert_problem(instance.get(device), 401, "unauthorized")
        # Users asks the database alone, whose one statement has the profile too.
        assert len(statements) == (1 if instance is leases.users else 0)


def crash(redis: processes.RedisServer) -> None:
    assert redis.process
    redis.process.kill()
    redis.process.wait()


@with_redis
def test_flushed(leases: Leases, device: Device) -> None:
    listed(leases, device)
    log_out(leases, device)
    with leases.redis.client() as client:
        client.flushall()
    refused_everywhere(leases, device)
    leases.round()
    refused_everywhere(leases, device)


@with_redis
def test_restarted_from_a_snapshot_of_before(
    leases: Leases, device: Device, long_leases: None
) -> None:
    listed(leases, device)
    with leases.redis.client() as client:
        client.save()
    log_out(leases, device)
    crash(leases.redis)
    leases.redis.start()
    # The lease runs, and the list lacks the session.
    assert leases.runs(device)
    with leases.redis.client() as client:
        assert client.zscore(list_of(device), device.session_id) is None
    for instance in leases.instances:
        instance.cache.paused_until = 0
    refused_everywhere(leases, device)
    # And the next round mends it, though this reconciler has read the revocation before.
    leases.round()
    leases.round()
    leases.trust()
    refused_everywhere(leases, device)


@with_redis
def test_evicting(leases: Leases, device: Device, long_leases: None) -> None:
    listed(leases, device)
    log_out(leases, device)
    with leases.redis.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 200_000)  # type: ignore[index]
        serial = 0
        while client.exists(list_of(device)):
            client.set(f"other:{serial}", "x" * 1000)
            serial += 1
            if serial % 500 == 0:
                refused_everywhere(leases, device)
    refused_everywhere(leases, device)


@with_redis
def test_hanging_and_resumed(leases: Leases, device: Device) -> None:
    listed(leases, device)
    assert leases.redis.process
    leases.redis.process.send_signal(signal.SIGSTOP)
    log_out(leases, device)
    refused_everywhere(leases, device)
    leases.redis.process.send_signal(signal.SIGCONT)
    leases.trust()
    refused_everywhere(leases, device)


@with_redis
def test_absent(leases: Leases, device: Device) -> None:
    listed(leases, device)
    leases.redis.stop()
    log_out(leases, device)
    refused_everywhere(leases, device)


@with_redis
def test_out_of_reach_for_whoever_revokes(leases: Leases, device: Device) -> None:
    listed(leases, device)
    assert leases.round()
    leases.auth.cut_off()
    log_out(leases, device)
    # The others reach it, and the list lacks the session.
    refused_everywhere(leases, device)
    leases.round()
    leases.trust()
    refused_everywhere(leases, device)
    with leases.sync.statements() as statements:
        assert_problem(leases.sync.get(device), 401, "unauthorized")
    assert statements == []


@with_redis
def test_out_of_reach_for_one_that_asks(leases: Leases, device: Device, long_leases: None) -> None:
    listed(leases, device)
    leases.sync.cut_off()
    log_out(leases, device)
    refused_everywhere(leases, device)


@with_redis
def test_without_a_reconciler_the_database_decides(leases: Leases, device: Device) -> None:
    device.pull()
    listed(leases, device)
    assert guard_statements(leases.sync, device) == 0
    deadline = time.monotonic() + 30
    while leases.runs(device):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert guard_statements(leases.sync, device) == 1
    log_out(leases, device)
    refused_everywhere(leases, device)


@with_redis
def test_one_of_two_reconcilers_leads_and_the_other_takes_over(
    leases: Leases, device: Device
) -> None:
    other = leases.new_reconciler()
    assert leases.round()
    assert not leases.round(other)
    with leases.redis.client() as client:
        client.delete("reconciler")
    assert leases.round(other)
    assert not leases.round()
    # Should both lead, each adds, and the lease is that of the later round.
    listed_by_none = device
    with leases.keeper.app_context():
        begun = leases.reconciler.begin()
        later = other.begin()
        assert begun and later
        late = other.read(None)
        assert other.fill(later, late)
        with leases.redis.client() as client:
            lease = client.zscore(list_of(device), "lease")
        assert leases.reconciler.fill(begun, leases.reconciler.read(None))
        with leases.redis.client() as client:
            assert client.zscore(list_of(listed_by_none), "lease") == lease


@with_redis
def test_a_round_finds_what_was_noted_long_before_it_was_committed(
    leases: Leases, device: Device
) -> None:
    listed(leases, device)
    # All that time in the transaction that ends the session, and Redis is not told.
    noted_at = now_ms() - 80_000
    with leases.keeper.app_context(), db.session.begin():
        row = {"session_id": device.session_id, "shard": revocations.shard(device.user_id)}
        db.session.execute(
            insert(Revocation).values(**row, revoked_at=noted_at, until=now_ms() + 900_000)
        )
        ended = update(Session).where(Session.id == device.session_id)
        db.session.execute(ended.values(revoked_at=noted_at))
    assert leases.reconciler.copied_until
    assert leases.round()
    refused_everywhere(leases, device)


class TestStoppedInMidRound:
    """A reconciler that has read the table, is stopped, and goes on after a revocation."""

    @staticmethod
    def begun(leases: Leases) -> Callable[[], bool]:
        reconciler: Reconciler = leases.new_reconciler()
        with leases.keeper.app_context():
            begun = reconciler.begin()
            assert begun
            copy = reconciler.read(None)

        def go_on() -> bool:
            with leases.keeper.app_context():
                return reconciler.fill(begun, copy)

        return go_on

    @with_redis
    def test_of_which_the_list_was_told(
        self, leases: Leases, device: Device, long_leases: None
    ) -> None:
        listed(leases, device)
        go_on = self.begun(leases)
        log_out(leases, device)
        go_on()
        refused_everywhere(leases, device)

    @with_redis
    def test_of_which_the_list_was_told_before_it_was_lost(
        self, leases: Leases, device: Device, long_leases: None
    ) -> None:
        listed(leases, device)
        go_on = self.begun(leases)
        log_out(leases, device)
        with leases.redis.client() as client:
            client.flushall()
        assert not go_on()
        refused_everywhere(leases, device)

    @with_redis
    def test_of_which_the_list_could_not_be_told(self, leases: Leases, device: Device) -> None:
        listed(leases, device)
        leases.auth.cut_off()
        go_on = self.begun(leases)
        log_out(leases, device)
        go_on()
        refused_everywhere(leases, device)


@with_redis
def test_a_replica_that_does_not_have_it_is_waited_for(
    leases: Leases, device: Device, backend: Backend
) -> None:
    replica = processes.RedisServer(
        backend.new_place(), processes.free_port(), password=leases.redis.password
    )
    replica.start()
    try:
        with replica.client() as client:
            client.config_set("masterauth", leases.redis.password)
            client.replicaof("127.0.0.1", str(leases.redis.port))
        with leases.redis.client() as client:
            deadline = time.monotonic() + 30
            # The replica thinks so some time before the master, who sends it nothing until then.
            while not client.role()[2]:  # type: ignore[index]
                assert time.monotonic() < deadline
                time.sleep(0.05)
        listed(leases, device)
        other = listed(leases, device.another())
        log_out(leases, other)
        with replica.client() as client:
            assert client.zscore(list_of(other), other.session_id)
        assert replica.process
        replica.process.send_signal(signal.SIGSTOP)
        assert leases.round()
        log_out(leases, device)
        # Were the replica the master from now on, its lease would have run out.
        assert not leases.runs(device)
        replica.process.send_signal(signal.SIGCONT)
    finally:
        replica.stop()


@with_redis
def test_what_a_pull_with_nothing_new_asks(
    leases: Leases, device: Device, long_leases: None, users_service: Flask
) -> None:
    device.push(projects={"created": [project()]})
    device.pull()
    assert guard_statements(leases.sync, device) == 1
    listed(leases, device)
    with leases.redis.client() as client:
        client.delete(revocations.clock_key(device.user_id))
    # Once: what it read is known to Redis from then on.
    assert guard_statements(leases.sync, device) == 1
    assert guard_statements(leases.sync, device) == 0
    with leases.users.statements() as statements:
        assert leases.users.get(device).status_code == 200
    assert len(statements) <= 1
    promote_to_admin(users_service, device.email)
    with leases.users.statements() as statements:
        found = leases.users.api.get(f"/users/{device.user_id}", token=device.token)
    assert found.status_code == 200
    # The administrator's role, and the account.
    assert len([text for text in statements if "SELECT" in text]) == 2


@with_redis
def test_a_profile_asks_redis_nothing(leases: Leases, device: Device) -> None:
    listed(leases, device)
    leases.users.cut_off()
    assert leases.users.get(device).status_code == 200
    # Had it tried, it would not try again for a second.
    assert leases.users.cache.paused_until == 0


@with_redis
def test_a_push_raises_the_clock_that_pulls_go_by(
    leases: Leases, device: Device, long_leases: None
) -> None:
    other = device.another()
    other.pull()
    listed(leases, device)
    assert guard_statements(leases.sync, other) <= 1
    assert guard_statements(leases.sync, other) == 0
    record = project()
    by_sync = Device(leases.sync.api, device.email, device.tokens)
    by_sync.push(projects={"created": [record]})
    there = Device(leases.sync.api, other.email, other.tokens, other.last_pulled_at)
    assert record["id"] in str(there.pull()["changes"])
    assert guard_statements(leases.sync, there) == 0
    # A reader that was slow lowers nothing.
    with leases.sync.app.app_context():
        revocations.raise_clock(device.user_id, 1)
    assert guard_statements(leases.sync, there) == 0


@with_redis
def test_tokens_of_before_a_restore_are_decided_by_the_database(
    leases: Leases, device: Device, long_leases: None
) -> None:
    listed(leases, device)
    with leases.keeper.app_context(), db.session.begin():
        row = {"lost_after": now_ms() - 1000, "lost_until": now_ms()}
        db.session.execute(insert(Restore).values(row))
        # The restored backup knows nothing of the session, and no revocation of it either.
        db.session.execute(delete(Session).where(Session.id == device.session_id))
    try:
        leases.round()
        leases.trust()
        refused_everywhere(leases, device)
    finally:
        with leases.keeper.app_context(), db.session.begin():
            db.session.execute(delete(Restore).where(Restore.lost_after == row["lost_after"]))


@with_redis
def test_a_token_that_lives_for_long_is_decided_by_the_database(
    leases: Leases, api: Api, clock: Clock, long_leases: None
) -> None:
    clock.advance(seconds=7200)
    device = api.register()
    device.pull()
    clock.reset()
    leases.round()
    leases.trust()
    # Twice: after the first one, Redis would know the clock.
    assert guard_statements(leases.sync, device) == 1
    assert guard_statements(leases.sync, device) == 1
    log_out(leases, device)
    with leases.keeper.app_context():
        recorded = db.session.get(Revocation, device.session_id)
    # Later it will look like any other: the revocation must outlive it.
    assert recorded
    assert recorded.until > now_ms() + 7200_000


@with_redis
def test_a_machine_whose_clock_is_wrong_asks_the_database(
    leases: Leases, device: Device, clock: Clock, long_leases: None
) -> None:
    device.pull()
    listed(leases, device)
    for seconds in (-120, 120):
        clock.advance(seconds=seconds)
        assert guard_statements(leases.sync, device) == 1
        clock.reset()
    assert guard_statements(leases.sync, device) == 0


@with_redis
def test_a_lease_from_before_redis_clock_was_set_back_is_not_believed(
    leases: Leases, device: Device
) -> None:
    device.pull()
    listed(leases, device)
    with leases.redis.client() as client:
        client.zadd(list_of(device), {"lease": now_ms() + 3600_000})
    assert guard_statements(leases.sync, device) == 1
    assert leases.round()
    assert guard_statements(leases.sync, device) == 0


def test_an_access_token_ends_with_its_session(application: object) -> None:
    api = Api(services.auth.create_app(SESSION_SECONDS=60))
    device = api.register()
    assert device.tokens["expiresIn"] <= 60
    refreshed = api.post("/auth/refresh", token=device.tokens["refreshToken"]).json
    assert refreshed["expiresIn"] <= 60


def test_a_reused_refresh_token_revokes(device: Device, clock: Clock) -> None:
    old = device.tokens["refreshToken"]
    new = device.api.post("/auth/refresh", token=old).json["refreshToken"]
    device.api.post("/auth/refresh", token=new)
    clock.advance(seconds=60)
    assert_problem(device.api.post("/auth/refresh", token=old), 401, "token_reused")
    clock.reset()
    with services.users.create_app().app_context():
        assert db.session.get(Revocation, device.session_id)


def test_the_purge_removes_what_no_token_can_need(device: Device) -> None:
    device.api.post("/auth/logout", token=device.token)
    app = services.sync.create_app()
    with app.app_context():
        for age, left in ((0, 1), (2 * 24 * 3600 * 1000, 0)):
            with db.session.begin():
                db.session.execute(
                    update(Revocation)
                    .where(Revocation.session_id == device.session_id)
                    .values(until=now_ms() - age)
                )
            result = app.test_cli_runner().invoke(args=["purge"])
            assert result.exit_code == 0, result.output
            found = db.session.scalars(
                select(Revocation.session_id).where(Revocation.session_id == device.session_id)
            ).all()
            db.session.rollback()
            assert len(found) == left
