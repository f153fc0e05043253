"""A restore is all or nothing: killed anywhere it leaves the old data or the new, and is run again."""

import gzip
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy import backup
from services import embedded
from services.sync import create_app
from tests.api import Api, Device, assert_problem, project, wire
from tests.conftest import ROOT, Backend, alembic
from tests.servers.commands import run_module
from tests.servers.processes import MariaDB, program
from tests.service import new_key, new_name

#: Backups are of a single server's database.
pytestmark = pytest.mark.backends("native", "mysql")

KILLED = 9
NAME = "restoring"


class Directly:
    """What a restore needs of a stack, in front of the test's own database; may die at a step."""

    def __init__(self, database: MariaDB, dies_at: int = 0) -> None:
        self.database, self.dies_at = database, dies_at
        self.steps = 0
        self.serves = True

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.dies_at:
            os._exit(KILLED)

    def client(self, kind: str) -> list[str]:
        self.step()
        name = {"client": "mariadb", "dump": "mariadb-dump"}[kind]
        user, socket = self.database.administrator, self.database.socket
        return [program(name), "--no-defaults", f"--socket={socket}", f"--user={user}"]

    def migrate(self, database: str) -> None:
        self.step()
        for command in (("alembic", "upgrade", "head"), ("deploy.grants",)):
            url = self.database.url("migrate", database)
            if run_module(ROOT, *command, DATABASE_URL=url).returncode:
                sys.exit(1)

    def pause(self) -> None:
        self.step()
        self.serves = False

    def resume(self) -> None:
        self.step()
        self.serves = True


@pytest.fixture(scope="module")
def database(backend: Backend) -> MariaDB:
    assert backend.database
    return backend.database


@pytest.fixture(scope="module")
def api(backend: Backend, database: MariaDB, application: object) -> Iterator[Api]:
    migrate, service = backend.new_database(NAME)
    alembic(migrate, "upgrade", "head")
    # Redis is that of other databases: a stack beside this one prolongs leases that know nothing of it.
    yield Api(embedded.create_app(DATABASE_URL=service, REDIS_URL=""))
    for name in databases(database):
        database.drop_database(name)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the command runs, with everybody's files readable by everybody."""
    monkeypatch.chdir(tmp_path)
    umask = os.umask(0o022)
    yield tmp_path
    os.umask(umask)


def restore(stack: Directly, path: Path) -> int:
    """Restore in a process of its own, which may be killed; return its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        backup.restore(stack, path, NAME)
        os._exit(0)
    except SystemExit:
        os._exit(1)
    finally:
        os._exit(2)


def names(api: Api, device: Device) -> set[str]:
    """What a new login of the user finds."""
    fresh = api.login(device.email)
    fresh.pull()
    return {row["name"] for row in fresh.rows["projects"].values()}


def databases(database: MariaDB) -> set[str]:
    with database.root() as root, root.cursor() as cursor:
        cursor.execute("SHOW DATABASES")
        return {name for (name,) in cursor.fetchall() if name.startswith(NAME)}


def test_a_restore_that_is_killed_anywhere_leaves_the_old_or_the_new_and_is_run_again(
    api: Api, database: MariaDB, there: Path
) -> None:
    device = api.register()
    device.push(projects={"created": [project(name="kept")]})
    stored = backup.backup(Directly(database), there / "backups", NAME)
    assert stored.stat().st_mode & 0o077 == 0
    assert stored.parent.stat().st_mode & 0o077 == 0

    outcomes = []
    for dies_at in range(1, 40):
        later = api.login(device.email)
        later.push(projects={"created": [project(name="lost")]})
        code = restore(Directly(database, dies_at), stored)
        found = names(api, device)
        assert found in ({"kept"}, {"kept", "lost"}), "neither the old nor the new"
        if found == {"kept"}:
            # All that goes with the new data is there with it.
            assert_problem(api.get("/sync", token=later.token), 401, "unauthorized")
            with database.root() as root, root.cursor() as cursor:
                cursor.execute(f"SELECT MAX(lost_until) FROM {NAME}.restores")
                ((lost_until,),) = cursor.fetchall()
                cursor.execute(f"SELECT MIN(last_modified_at) FROM {NAME}.users")
                ((clock,),) = cursor.fetchall()
            assert clock > lost_until
        outcomes.append((code, len(found)))
        if code == 0:
            break
        assert code == KILLED
    # It was killed before and after the one statement that makes the difference.
    assert {(KILLED, 2), (KILLED, 1), (0, 1)} <= set(outcomes)
    assert f"{NAME}_restored" not in databases(database)
    backup.drop_replaced(Directly(database), NAME)
    assert databases(database) == {NAME}


def test_what_a_device_saw_of_the_lost_time_is_corrected_once(
    api: Api, database: MariaDB, there: Path
) -> None:
    device = api.register()
    kept = project(name="kept")
    device.push(projects={"created": [kept]})
    stored = backup.backup(Directly(database), there / "backups", NAME)
    device.push(projects={"updated": [kept | {"name": "lost"}]})
    device.pull()
    assert restore(Directly(database), stored) == 0
    device.tokens = api.login(device.email).tokens
    answer = device.pull()
    assert answer["changes"]["projects"]["updated"] == [wire(kept)]
    # The answer's timestamp lies behind the interval, so the next pull is an ordinary one.
    assert device.pull()["changes"]["projects"] == {"created": [], "updated": [], "deleted": []}


def test_a_service_key_that_was_revoked_stays_so_whatever_the_backup_says(
    api: Api, backend: Backend, database: MariaDB, there: Path
) -> None:
    by_hand = create_app(DATABASE_URL=database.url("migrate", NAME), REDIS_URL="")
    names_ = {what: new_name() for what in ("kept", "revoked", "later")}
    keys = {what: new_key(by_hand, name=names_[what]) for what in ("kept", "revoked")}
    stored = backup.backup(Directly(database), there / "backups", NAME)
    assert (
        by_hand.test_cli_runner().invoke(args=["revoke-service-key", names_["revoked"]]).exit_code
        == 0
    )
    keys["later"] = new_key(by_hand, name=names_["later"])
    assert restore(Directly(database), stored) == 0
    statuses = {
        what: api.get("/service/spaces", token=key).status_code for what, key in keys.items()
    }
    assert statuses == {"kept": 200, "revoked": 401, "later": 401}


def edited(edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        path.write_bytes(gzip.compress(edit(gzip.decompress(path.read_bytes()))))

    return apply


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2000])


def newer(text: bytes) -> bytes:
    changed = re.sub(rb"(`alembic_version` VALUES\s*\(')[^']+", rb"\g<1>9999", text)
    assert changed != text
    return changed


BAD: dict[str, Callable[[Path], None]] = {
    "cut off": cut,
    "empty": lambda path: path.write_bytes(b""),
    "no gzip": lambda path: path.write_bytes(b"-- taken_at: 1\n"),
    "another directory": lambda path: path.unlink(),
    "without its end": edited(lambda text: text.rpartition(b"-- Dump completed")[0]),
    "of a newer version": edited(newer),
    "of no version": edited(lambda text: text.replace(b"alembic_version", b"others_version")),
    "of another program": edited(lambda text: text.partition(b"\n")[2]),
    "of several databases": edited(
        lambda text: text.replace(b"DROP TABLE", b"USE `app`;\nDROP TABLE", 1)
    ),
    "without a table": edited(lambda text: text.replace(b"`tasks`", b"`tusks`")),
    "with a broken statement": edited(
        lambda text: text.replace(b"-- Dump completed", b"NONSENSE;\n-- Dump completed")
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_dump_that_is_not_ours_or_not_whole_is_refused_before_anything_is_touched(
    api: Api, database: MariaDB, there: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    device = api.register()
    device.push(projects={"created": [project(name="kept")]})
    stored = backup.backup(Directly(database), there / "backups", NAME)
    BAD[name](stored)
    device.push(projects={"created": [project(name="later")]})
    stack = Directly(database)
    with pytest.raises(SystemExit) as refused:
        backup.restore(stack, stored, NAME)
    assert str(refused.value).endswith("Nothing was changed.")
    assert stack.serves
    assert f"{NAME}_restored" not in databases(database)
    assert device.pull_raw().status_code == 200
    assert names(api, device) == {"kept", "later"}


def test_a_dump_of_an_older_version_is_migrated_before_it_takes_its_place(
    api: Api, backend: Backend, database: MariaDB, there: Path
) -> None:
    older, _ = backend.new_database(f"{NAME}older")
    alembic(older, "upgrade", "0003")
    stored = backup.backup(Directly(database), there / "backups", f"{NAME}older")
    device = api.register()
    assert restore(Directly(database), stored) == 0
    assert api.post("/auth/login", {"email": device.email, "password": "x" * 9}).status_code == 401
    assert api.register().pull()["timestamp"] > 0


def test_a_backup_that_fails_leaves_no_file(
    database: MariaDB, there: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        backup.backup(Directly(database), there / "backups", "nowhere")
    assert list((there / "backups").iterdir()) == []
