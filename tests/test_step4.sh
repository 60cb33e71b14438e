#!/usr/bin/env bash
# Do the tools of step 4 run, and are its prompts filled in?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

start 4 "$@"
judge
finish
