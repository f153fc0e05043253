#!/bin/sh
# Print the statements that make the database and its users; in the database's image, which runs this when its
# data directory is new, execute them. Who migrates may do and grant everything in the one database; the others
# get their rights from deploy/grants.py.
set -eu
statements() {
    echo "CREATE DATABASE IF NOT EXISTS \`$MYSQL_DATABASE\`;"
    for user in migrate auth users sync purge jobs webhooks; do
        eval "password=\${$(echo "$user" | tr '[:lower:]' '[:upper:]')_PASSWORD:-}"
        # A stack from before there were jobs or webhooks has no password for them.
        [ -n "$password" ] || continue
        echo "CREATE USER IF NOT EXISTS '$user'@'%';"
        echo "ALTER USER '$user'@'%' IDENTIFIED BY '$password';"
    done
    echo "GRANT ALL ON \`$MYSQL_DATABASE\`.* TO 'migrate'@'%' WITH GRANT OPTION;"
}
if [ -z "${MYSQL_ROOT_PASSWORD:-}" ]; then
    statements
else
    statements | MYSQL_PWD="$MYSQL_ROOT_PASSWORD" mysql --user=root
fi
