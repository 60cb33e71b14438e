#!/usr/bin/env bash
# Do the tools of step 4 run, and are its prompts filled in?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

LESSONS='1.1 1.2 2.1 2.2 2.3 3.1 3.2 4.1 4.2 4.3'
start 4 "$@"
judge
finish
