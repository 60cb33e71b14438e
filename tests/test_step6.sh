#!/usr/bin/env bash
# Does step 6 let in those with a good token, and nobody else?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

LESSONS='1.1 1.2 2.1 2.2 2.3 3.1 3.2 4.1 4.2 4.3 5.1 5.2 6.1 6.2 6.3'
start 6 "$@"
judge
finish
