#!/usr/bin/env bash
# Run what failed once more, by itself: tests/again.sh PYTEST…
#
# Tests of real processes have bounds of time, and a machine that runs four at once may be too busy for one.
# What passes then is named as such. More than three failures are no chance, and stay failures.
set -euo pipefail
failed=.local/failed
[ -e "$failed" ] || exit 1
count=$(wc -l <"$failed")
[ "$count" -gt 0 ] && [ "$count" -le 3 ] || exit 1
names=$(cat "$failed")
printf '\nOnce more, by itself:\n%s\n\n' "$names"
"$@" -n 0 "@$failed"
printf '\nFLAKY, mend these: they failed beside other tests, and passed by themselves:\n%s\n' "$names"
