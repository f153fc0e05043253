#!/bin/sh
# What the official image does with the variables that the compose file sets.
set -eu
data=/var/lib/mysql
server="mysqld --datadir=$data --user=root --socket=/tmp/mysql.sock --mysqlx=OFF --skip-log-bin --secure-file-priv=NULL"
if [ ! -d "$data/mysql" ]; then
    $server --initialize-insecure
    $server --skip-networking &
    until mysqladmin --socket=/tmp/mysql.sock -uroot ping >/dev/null 2>&1; do sleep 0.2; done
    mysql --socket=/tmp/mysql.sock -uroot <<SQL
CREATE DATABASE \`$MYSQL_DATABASE\`;
CREATE USER 'root'@'%' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';
GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;
ALTER USER 'root'@'localhost' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';
SQL
    mkdir -p /var/run/mysqld && ln -sf /tmp/mysql.sock /var/run/mysqld/mysqld.sock
    for script in /docker-entrypoint-initdb.d/*.sh; do sh "$script"; done
    MYSQL_PWD="$MYSQL_ROOT_PASSWORD" mysqladmin --socket=/tmp/mysql.sock -uroot shutdown
    wait
fi
mkdir -p /var/run/mysqld && ln -sf /tmp/mysql.sock /var/run/mysqld/mysqld.sock
exec $server "$@"
