"""Private instances of MariaDB, MySQL, Redis, nginx and the services."""

from deploy.local.servers import (
    DATABASE_USERS,
    PATH,
    ROOT,
    Gateway,
    MariaDB,
    MySQL,
    Part,
    RedisServer,
    Service,
    children,
    free_port,
    get_health,
    missing_programs,
    program,
    settings_file,
    wait_until,
)

__all__ = [
    "DATABASE_USERS",
    "PATH",
    "ROOT",
    "Gateway",
    "MariaDB",
    "MySQL",
    "Part",
    "RedisServer",
    "Service",
    "children",
    "free_port",
    "get_health",
    "missing_programs",
    "program",
    "settings_file",
    "wait_until",
]
