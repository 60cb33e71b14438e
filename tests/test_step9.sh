#!/usr/bin/env bash
# Does step 9 know its users, and keep their notes apart?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

LESSONS='1.1 1.2 2.1 2.2 2.3 3.1 3.2 4.1 4.2 4.3 5.1 5.2 6.1 6.2 6.3 7.1 7.2 8.1 9.1 9.2 9.3 9.4 9.5'
start 9 "$@"
judge
finish
