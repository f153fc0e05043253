"""What only a cluster can do to us: writes to several nodes at once, and a master that is gone."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import services.sync
from shared import redis
from tests.api import Api, Device, changes, new_id, project, wire
from tests.conftest import Backend
from tests.servers.clusters import RedisCluster
from tests.stack.load import eventually

SET = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])"

pytestmark = pytest.mark.backends("cluster")


@pytest.fixture
def nodes(backend: Backend, device: Device) -> list[Device]:
    """The same device, in front of a sync service on each node of the database."""
    assert backend.database
    urls = [node.url("service", "app") for node in (backend.database, *backend.others)]
    return [
        Device(Api(services.sync.create_app(DATABASE_URL=url)), device.email, device.tokens)
        for url in urls
    ]


def test_pushes_of_one_user_to_all_nodes_at_once_all_stand(nodes: list[Device]) -> None:
    shared = project()
    nodes[0].push(projects={"created": [shared]})
    ids: list[str] = []

    def push(number: int) -> int:
        own = project(id=new_id())
        ids.append(own["id"])
        edited = shared | {"name": f"Edit {number}", "_changed": "name", "_status": "updated"}
        body = changes(projects={"created": [own], "updated": [edited]})
        for _ in range(10):
            answer = nodes[number % 3].push_raw(body)
            # Given up after five clashes with other nodes: the app comes again, as it is told to.
            if answer.status_code != 503:
                break
        assert answer.status_code == 200, answer.text
        tick: int = answer.json["timestamp"]
        return tick

    with ThreadPoolExecutor(6) as pool:
        ticks = list(pool.map(push, range(60)))
    # Each took a tick of its own, though no lock reaches from node to node.
    assert len(set(ticks)) == 60
    for node in nodes:
        fresh = Device(node.api, node.email, node.tokens)
        fresh.pull()
        assert fresh.rows["projects"].keys() == {shared["id"], *ids}


def test_a_reader_on_one_node_misses_nothing_that_others_write(nodes: list[Device]) -> None:
    reader = Device(nodes[2].api, nodes[2].email, nodes[2].tokens)
    timestamps: list[int] = []

    def write(number: int) -> str:
        own = project()
        nodes[number % 2].push(projects={"created": [own]})
        return str(own["id"])

    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write, number) for number in range(40)]
        while not all(future.done() for future in writing):
            timestamps.append(reader.pull()["timestamp"])
    reader.pull()
    assert reader.rows["projects"].keys() == {future.result() for future in writing}
    assert timestamps == sorted(timestamps)


def test_what_one_node_acknowledged_the_next_pull_from_another_has(nodes: list[Device]) -> None:
    for number in range(20):
        own = project()
        nodes[number % 3].push(projects={"created": [own]})
        other = nodes[(number + 1) % 3]
        other.pull()
        assert other.rows["projects"][own["id"]] == wire(own)


@pytest.fixture
def redis_cluster(backend: Backend) -> Iterator[RedisCluster]:
    assert isinstance(backend.redis, RedisCluster)
    yield backend.redis
    for node in backend.redis.nodes:
        if node.process and node.process.poll() is not None:
            node.start()


def test_the_cache_lives_on_when_a_master_of_redis_dies(
    device: Device, redis_cluster: RedisCluster
) -> None:
    app = services.sync.create_app()
    api = Api(app)

    def works(key: str) -> bool:
        with app.app_context():
            return bool(redis.run_script(SET, [key], ["value"]) == b"value")

    keys = [f"key:{n}" for n in range(30)]
    assert all(works(key) for key in keys)
    victim = redis_cluster.masters()[-1]
    assert victim.process
    victim.process.kill()
    victim.process.wait()
    # Meanwhile everything is answered, from the database where need be.
    began = time.monotonic()
    while time.monotonic() < began + 3:
        assert api.get("/sync", token=device.token).status_code == 200
    eventually(lambda: all(works(key) for key in keys))
