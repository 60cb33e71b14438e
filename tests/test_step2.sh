#!/usr/bin/env bash
# Does step 2 speak JSON-RPC, in both eras of MCP?
set -u
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/lib.sh"

start 2 "$@"
judge
finish
