#!/usr/bin/env bash
# Does step 6 let in those with a good token, and nobody else?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

start 6 "$@"
judge
finish
