#!/bin/sh
# Make the virtual environment $2 with the interpreter $1, unless it is there, and install the lock file $3.
set -eu
# Standard output is the target's own: make client-schema >schema.js.
exec >&2
python=$1 venv=$2 lock=$3

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "Python 3.11 or newer is needed; '$python' is not. Try: make PYTHON=python3.12 …" >&2
        exit 1
    }
    echo "Making a virtual environment in $venv"
    rm -rf "$venv"
    "$python" -m venv "$venv" || {
        rm -rf "$venv"
        echo "'$python -m venv' does not work. On Debian: apt-get install python3-venv" >&2
        exit 1
    }
fi
total=$(grep -c '==' "$lock")
echo "Installing the $total packages of $lock into $venv"
if [ ! -t 1 ]; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r "$lock"
    exit
fi
status=$(mktemp)
{
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-compile --require-hashes -r "$lock"
    echo $? >"$status"
} | awk -v total="$total" '
    /^(Collecting|Requirement already)/ { printf "\r  %d of %d\033[K", ++found, total; fflush() }
    /^Installing/ { printf "\r  unpacking\033[K"; fflush() }
    END { printf "\r\033[K" }'
result=$(cat "$status")
rm "$status"
exit "$result"
