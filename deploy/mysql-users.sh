#!/bin/sh
# Run by the database's image when its data directory is new: the users of least privilege.
set -eu
mysql --user=root --password="$MYSQL_ROOT_PASSWORD" <<SQL
CREATE USER 'migrate'@'%' IDENTIFIED BY '$DATABASE_PASSWORD';
GRANT ALL ON \`$MYSQL_DATABASE\`.* TO 'migrate'@'%';
CREATE USER 'service'@'%' IDENTIFIED BY '$DATABASE_PASSWORD';
GRANT SELECT, INSERT, UPDATE, DELETE ON \`$MYSQL_DATABASE\`.* TO 'service'@'%';
SQL
