#!/bin/sh
# Prepare .local/native for supervisord with the Python $1: directories, keys, pages, the database, and what
# servers read at their start. SERVER_USER is who runs MariaDB and Redis when we are root.
set -eu
umask 077
deploy/local/secrets.sh .local/secrets.env
PATH=$PATH:/usr/sbin:/sbin
native=.local/native
set -a
. .local/secrets.env
set +a
. $native/ports.env

mkdir -p .local/log $native/database/tmp $native/redis $native/gateway/run
# nginx's workers and whoever runs the database may pass, and read what is their own.
chmod 711 .local $native $native/gateway $native/gateway/run
chmod 700 .local/log $native/database $native/redis

[ -e .local/keys/private.pem ] || "$1" -m deploy.keys .local/keys
chmod 700 .local/keys
"$1" -m services.pages.site $native/gateway/site
chmod -R a+rX $native/gateway/site

# Servers of a supervisord that was killed, where the system has not ended them with it.
for pid in $native/*/*.pid; do
    [ ! -s "$pid" ] || pkill -F "$pid" -f 'mariadbd|redis-server|nginx|gunicorn' || true
done
rm -rf $native/programs
mkdir $native/programs

# In files, since everybody on the machine can read arguments.
cat >$native/client.cnf <<INI
[client]
host=127.0.0.1
port=$DATABASE_PORT
user=root
password=$ROOT_PASSWORD
INI
cat >$native/redis/redis.conf <<REDIS
port $REDIS_PORT
bind 127.0.0.1
requirepass $REDIS_PASSWORD
pidfile ./server.pid
save ""
appendonly no
REDIS
{
    MYSQL_DATABASE=app MYSQL_ROOT_PASSWORD='' deploy/mysql-users.sh
    cat <<SQL
CREATE USER IF NOT EXISTS 'root'@'127.0.0.1';
ALTER USER 'root'@'127.0.0.1' IDENTIFIED BY '$ROOT_PASSWORD';
ALTER USER 'root'@'localhost' IDENTIFIED BY '$ROOT_PASSWORD';
GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;
SQL
} >$native/database/users.sql

if [ ! -e $native/database/data ]; then
    echo "Making a database"
    (
        cd $native/database
        rm -rf new
        TMPDIR=$PWD/tmp mariadb-install-db --no-defaults --auth-root-authentication-method=normal --skip-test-db --datadir=./new >install.log 2>&1 ||
            { cat install.log >&2; exit 1; }
        mv new data
    )
fi
[ "$(id -u)" != 0 ] || chown -R "$SERVER_USER" $native/database $native/redis
