#!/usr/bin/env bash
# Is the server of step 1 there?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

start 1 "$@"
judge
finish
