#!/bin/sh
# Run by the database's image when its data directory is new: the users. Who migrates may do and grant
# everything in the one database; the others get their rights from deploy/grants.py.
set -eu
{
    for user in migrate auth users sync purge; do
        variable=$(echo "$user" | tr '[:lower:]' '[:upper:]')_PASSWORD
        eval "password=\$$variable"
        echo "CREATE USER '$user'@'%' IDENTIFIED BY '$password';"
    done
    echo "GRANT ALL ON \`$MYSQL_DATABASE\`.* TO 'migrate'@'%' WITH GRANT OPTION;"
} | MYSQL_PWD="$MYSQL_ROOT_PASSWORD" mysql --user=root
