#!/usr/bin/env bash
# Is the open task of a lesson done? book/tasks has the checks of each.
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

LESSONS=${1:-} SCRIPT="tests/test_task.sh LESSON"
step=$(awk -F'[= "]+' -v id="$LESSONS" '/^id = / { found = $2 == id } found && /^step = / { print $2 }' "$ROOT/book/lessons.toml")
if [ ! -f "$ROOT/book/tasks/$LESSONS.sh" ] || [ -z "$step" ]; then
    die "which lesson's task? There are: $(cd "$ROOT/book/tasks" && printf '%s\n' ./*.sh | sed 's/^..//; s/.sh$//' | tr '\n' ' ')" 2
fi
shift
# A later step has what the earlier ones have: its task may have been done there.
if [ "${1:-}" = --step ]; then step=${2:-$step} && shift 2; fi

start "$step" "$@"
LESSON=$LESSONS
# shellcheck source=/dev/null
. "$ROOT/book/tasks/$LESSON.sh"
finish
