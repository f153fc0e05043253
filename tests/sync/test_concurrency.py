"""Nothing is lost or missed when devices of one user sync at the same time (docs/design.md, invariant 1)."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

from tests.api import Device, project, task, wire

#: With the reader as many as a process lets one user have at a time.
WRITERS, PUSHES = 3, 20


def test_a_reader_that_pulls_without_pause_misses_no_parallel_push(device: Device) -> None:
    reader = device.another()
    writers = [device.another() for _ in range(WRITERS)]
    done = Event()

    def write(writer: Device) -> list[int]:
        ticks = []
        for push in range(PUSHES):
            p = project()
            # Long pushes among short ones: what begins first does not end first.
            tasks = [task(p["id"]) for _ in range(200 if push % 3 == 0 else 1)]
            answer = writer.push(projects={"created": [p]}, tasks={"created": tasks})
            ticks.append(answer["timestamp"])
        return ticks

    def read() -> int:
        pulls = 0
        while not done.is_set():
            before = reader.last_pulled_at
            assert reader.pull()["timestamp"] >= before
            # Of one snapshot: no task without the project that was pushed with it.
            parents = {t["project_id"] for t in reader.rows["tasks"].values()}
            assert parents <= reader.rows["projects"].keys()
            pulls += 1
        reader.pull()
        return pulls

    with ThreadPoolExecutor(WRITERS + 1) as pool:
        reading = pool.submit(read)
        try:
            ticks = [tick for own in pool.map(write, writers) for tick in own]
        finally:
            done.set()
        assert reading.result() > 1
    # One tick per push: no two pushes were stamped alike.
    assert len(set(ticks)) == WRITERS * PUSHES
    fresh = device.another()
    fresh.pull()
    assert len(fresh.rows["projects"]) == WRITERS * PUSHES
    assert reader.rows == fresh.rows


def test_a_reader_that_pulls_without_pause_misses_no_parallel_deletion(device: Device) -> None:
    """Deletions lock nothing but their own rows: the clock's lock alone puts them in order."""
    p = project()
    tasks = [task(p["id"]) for _ in range(1200)]
    device.push(projects={"created": [p]}, tasks={"created": tasks})
    reader = device.another()
    reader.pull()
    device.pull()
    long, short = [t["id"] for t in tasks[:1000]], [t["id"] for t in tasks[1000:1100]]
    done = Event()

    def delete(ids: list[str], at_once: int) -> None:
        for start in range(0, len(ids), at_once):
            device.push(tasks={"deleted": ids[start : start + at_once]})

    def read() -> None:
        while not done.is_set():
            reader.pull()
        reader.pull()

    with ThreadPoolExecutor(4) as pool:
        reading = pool.submit(read)
        try:
            writing = [pool.submit(delete, long, 250), pool.submit(delete, short, 2)]
            for future in writing:
                future.result()
        finally:
            done.set()
        reading.result()
    assert reader.rows["tasks"].keys() == {t["id"] for t in tasks[1100:]}


def test_parallel_edits_of_one_row_all_stand_column_by_column(device: Device) -> None:
    p = project(name="", description="")
    device.push(projects={"created": [p]})
    first, second = device.another(), device.another()
    for edit in range(10):
        first.pull()
        second.pull()
        name = p | {"name": str(edit), "_changed": "name"}
        description = p | {"description": str(edit), "_changed": "description"}
        with ThreadPoolExecutor(2) as pool:
            one = pool.submit(first.push, projects={"updated": [name]})
            two = pool.submit(second.push, projects={"updated": [description]})
            one.result()
            two.result()
        p |= {"name": str(edit), "description": str(edit)}
        fresh = device.another()
        fresh.pull()
        assert fresh.rows["projects"] == {p["id"]: wire(p)}


def test_users_push_at_the_same_time_without_disturbing_each_other(device: Device) -> None:
    users = [device.api.register() for _ in range(4)]

    def work(user: Device) -> None:
        for _ in range(10):
            p = project(id="shared-id")
            user.push(projects={"created": [p]}, tasks={"created": [task("shared-id")]})
            user.pull()
            user.push(projects={"deleted": ["shared-id"]})
            user.pull()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, users))
    for user in users:
        assert user.rows == {"projects": {}, "tasks": {}}
