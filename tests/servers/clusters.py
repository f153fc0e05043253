"""A Galera cluster of three MariaDB nodes, and a Redis Cluster of three masters with a replica each."""

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import redis
from redis.exceptions import RedisClusterException

from tests.servers.processes import PATH, MariaDB, RedisServer, free_port, program

GALERA = Path("/usr/lib/galera/libgalera_smm.so")


class GaleraNode(MariaDB):
    """One of three nodes that all take writes. It starts when `peers` is complete."""

    def __init__(
        self, directory: Path, peers: list[int], number: int, passwords: Mapping[str, str] | None
    ) -> None:
        super().__init__(directory, free_port(), passwords=passwords)
        self.peers, self.number = peers, number
        self.state_port = free_port()
        self.transfer_port = free_port()
        self.is_first = number == 0

    def server(self) -> list[str]:
        """MariaDB as a member of the cluster."""
        own = self.peers[self.number]
        options = [
            f"gmcast.listen_addr=tcp://127.0.0.1:{own}",
            f"base_port={own}",
            f"ist.recv_addr=127.0.0.1:{self.state_port}",
            "gcache.size=16M",
        ]
        return [
            *super().server(),
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            "--wsrep-on=ON",
            f"--wsrep-provider={GALERA}",
            f"--wsrep-provider-options={';'.join(options)}",
            f"--wsrep-node-name=n{self.number}",
            f"--wsrep-node-address=127.0.0.1:{own}",
            "--wsrep-cluster-name=test",
            "--wsrep-cluster-address=gcomm://" + ",".join(f"127.0.0.1:{p}" for p in self.peers),
            "--wsrep-sst-method=rsync",
            f"--wsrep-sst-receive-address=127.0.0.1:{self.transfer_port}",
            # A read waits for what other nodes have acknowledged (docs/scaling.md).
            "--wsrep-sync-wait=1",
            *(["--wsrep-new-cluster"] if self.is_first else []),
        ]

    def start(self) -> None:
        """Start the node; the first one founds the cluster once and is a member from then on."""
        super().start()
        self.is_first = False

    def answers(self) -> None:
        """Raise `OSError` until the node has caught up with the others."""
        super().answers()
        with self.root() as connection, connection.cursor() as cursor:
            cursor.execute("SHOW STATUS LIKE 'wsrep_local_state_comment'")
            found = cursor.fetchone()
        if not found or found[1] != "Synced":
            raise OSError(found)


class Galera:
    """The cluster."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        directory.chmod(0o755)
        peers = [free_port() for _ in range(3)]
        first = GaleraNode(directory / "n0", peers, 0, None)
        others = [GaleraNode(directory / f"n{n}", peers, n, first.passwords) for n in (1, 2)]
        self.nodes = [first, *others]

    def start(self) -> None:
        """Install and start all nodes."""
        for node in self.nodes:
            node.install()
            node.start()

    def stop(self) -> None:
        """Stop all nodes."""
        for node in reversed(self.nodes):
            node.stop()


class RedisNode(RedisServer):
    """One server of the cluster."""

    def __init__(self, directory: Path, password: str | None = None) -> None:
        super().__init__(directory, free_port(), password=password)
        self.bus_port = free_port()

    def command(self) -> list[str]:
        """Redis in cluster mode."""
        return [
            *super().command(),
            *("--cluster-enabled", "yes", "--cluster-node-timeout", "2000"),
            *("--cluster-port", str(self.bus_port), "--masterauth", self.password),
        ]


class RedisCluster:
    """Six servers."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        directory.chmod(0o755)
        first = RedisNode(directory / "r0")
        self.password = first.password
        self.is_founded = False
        self.nodes = [first] + [RedisNode(directory / f"r{n}", self.password) for n in range(1, 6)]

    @property
    def url(self) -> str:
        """The `REDIS_URL`."""
        return self.nodes[0].url.replace("redis://", "redis+cluster://")

    def client(self) -> "redis.cluster.RedisCluster":
        """A client of the cluster."""
        return redis.cluster.RedisCluster.from_url(self.nodes[0].url)

    def start(self) -> None:
        """Start the servers, make them a cluster, and wait until every replica follows."""
        for node in self.nodes:
            node.start()
        if not self.is_founded:
            self.found()
        deadline = time.monotonic() + 30
        while sum(self.follows(node) for node in self.nodes) < 3 or not self.serves():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def found(self) -> None:
        addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
        subprocess.run(
            [
                *(program("redis-cli"), "--cluster", "create", *addresses),
                *("--cluster-replicas", "1", "--cluster-yes"),
            ],
            env={"REDISCLI_AUTH": self.password, "PATH": PATH},
            check=True,
            capture_output=True,
        )
        self.is_founded = True

    def serves(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.set("test", "1"))
        except (redis.RedisError, RedisClusterException):
            return False

    @staticmethod
    def follows(node: RedisNode) -> bool:
        with node.client() as client:
            return client.info("replication").get("master_link_status") == "up"  # type: ignore[union-attr]

    def masters(self) -> list[RedisNode]:
        """The servers that are masters now."""
        found = []
        for node in self.nodes:
            if node.process and node.process.poll() is None:
                with node.client() as client:
                    if client.info("replication")["role"] == "master":  # type: ignore[index]
                        found.append(node)
        return found

    def stop(self) -> None:
        """Stop all servers."""
        for node in self.nodes:
            node.stop()
