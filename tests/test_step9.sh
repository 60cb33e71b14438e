#!/usr/bin/env bash
# Does step 9 know its users, and keep their notes apart?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

start 9 "$@"
judge
finish
