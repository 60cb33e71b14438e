#!/usr/bin/env bash
# Does step 6 let in requests with a good token, and no others?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

start 6 "$@"
judge
finish
