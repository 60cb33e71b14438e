#!/usr/bin/env bash
# Keycloak on this computer, as the identity provider of step 10: see README.md beside this file.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

version=26.7.3
# The digest of the archive org.keycloak:keycloak-quarkus-dist:26.7.3:tar.gz at Maven Central.
sha256=77657f30b7e90d70f727712ce1c967f430fd6a5e9f458d32d8c6df0635345f47
# Clients register at OAuth's own endpoint only (RFC 7591). At Keycloak's other endpoints, a stranger's client may bring
# a token lifespan and protocol mappers, and so put roles into a token: see README.md. compose.yaml has these options
# too.
build=(
  --db=dev-file
  --spi-client-registration--default--enabled=false
  --spi-client-registration--install--enabled=false
  --spi-client-registration--saml2-entity-descriptor--enabled=false
)

usage() {
  cat <<EOF
Starts Keycloak $version with the realm mcp-realm, for development, and waits until it is ready.

Usage: keycloak/start.sh [--port PORT] [--data DIR] [start|stop]

  start        prepares the distribution where that is not done yet, and starts it; the default. Maven fetches it
               (176 MB, once) and keeps it in its own repository
  stop         stops it; what it knows is kept
  --port PORT  where it listens, on this computer only (default 8080); part of the issuer's URL
  --data DIR   where it keeps what it knows (default keycloak/run/PORT); without that folder it begins anew

Environment: JAVA_HOME, if not the java in PATH
             KEYCLOAK_HOME, the folder of an unpacked Keycloak $version: it is copied, and Maven is not needed
EOF
}

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "error: $*"
  exit 1
}
misused() {
  say "error: $*"
  say "See keycloak/start.sh --help."
  exit 2
}

verb=start port=8080 data= options=
while [ $# -gt 0 ]; do
  case $1 in
    start | stop) verb=$1 ;;
    --port | --data)
      [ $# -ge 2 ] || misused "$1 needs a value"
      if [ "$1" = --port ]; then port=$2; else data=$2; fi
      options+=$(printf ' %q' "$1" "$2")
      shift
      ;;
    -h | --help)
      usage
      exit
      ;;
    *) misused "there is no $1" ;;
  esac
  shift
done
[[ $port =~ ^[1-9][0-9]{0,4}$ ]] && [ "$port" -le 65535 ] || misused "--port is a number from 1 to 65535, not $port"

base=http://localhost:$port
issuer=$base/realms/mcp-realm
sum=$(printf '%s ' "${build[@]}" | cksum)
dist=$here/dist/keycloak-$version-${sum%% *} # other options, another folder
umask 077                                    # the data has private keys
: "${data:=$here/run/$port}"
if [ "$verb" = stop ] && ! [ -e "$data" ]; then
  say "Keycloak is not running on $data: there is no such folder."
  exit
fi
mkdir -p "$data"
data=$(cd "$data" && pwd)
others=$(ls -A "$data" | grep -Fvx .lock || true)
[ -z "$others" ] || [ -f "$data/admin-password" ] || fail "$data has other things in it: give --data a folder of its own"

# Whether Keycloak runs on this data. The process may have ended, and another may have its number now.
running() {
  pid=$(cat "$data/pid" 2>/dev/null) && ps -ww -o args= -p "$pid" 2>/dev/null | grep -qF "$data/bin/"
}
answers() { curl -sf --noproxy localhost -m 5 "$issuer/.well-known/openid-configuration" >/dev/null; }

# Only one start.sh at a time may work on the same data. The system releases the lock, which is file 9, when its owner
# ends, however it ends. Linux has flock, macOS has Perl.
take() {
  if command -v flock >/dev/null; then
    flock -n 9
  else
    perl -MFcntl=:flock -e 'open(LOCK, ">>&=9") && flock(LOCK, LOCK_EX | LOCK_NB) or exit 1'
  fi
}
lock() {
  local owner told=
  command -v flock perl >/dev/null || fail "flock is missing, and Perl too: install one (Debian: apt install util-linux)"
  [ -w "$data" ] || fail "$data cannot be written: give --data another folder"
  exec 9>>"$data/.lock"
  for _ in $(seq 3000); do
    if take; then
      echo $$ >"$data/.lock"
      return
    fi
    owner=$(cat "$data/.lock")
    [ -n "$told" ] || say "Waiting for another start.sh on $data (process $owner) …"
    told=yes
    sleep 0.2
  done
  fail "another start.sh (process $owner) has worked on $data for ten minutes: see what keeps it, or end it"
}

stop() {
  if ! running; then
    rm -f "$data/pid"
    say "Keycloak is not running on $data."
    return
  fi
  local java
  java=$(pgrep -P "$pid" || true)
  kill -TERM "$pid"
  for _ in $(seq 150); do
    running || break
    sleep 0.2
  done
  if running; then
    say "Keycloak does not stop when asked: ending it."
    # shellcheck disable=SC2086 # none, or one number
    kill -KILL "$pid" $java 2>/dev/null || true
  fi
  rm -f "$data/pid"
  say "Keycloak has stopped."
}

need_java() {
  local java=java found
  [ -z "${JAVA_HOME:-}" ] || java=$JAVA_HOME/bin/java
  found=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p') || true
  [ -n "$found" ] || fail "there is no Java at $java: install a JDK of version 17 or later (Debian: apt install default-jre-headless; macOS: brew install openjdk@21), or set JAVA_HOME"
  [ "$found" -ge 17 ] || fail "Keycloak needs Java 17 or later, and $java is version $found: install a later one, or set JAVA_HOME"
}

is_genuine() {
  local digest
  if command -v sha256sum >/dev/null; then digest=$(sha256sum "$1"); else digest=$(shasum -a 256 "$1"); fi
  [ "${digest%% *}" = "$sha256" ]
}

# unpack FOLDER: puts the distribution there. Maven fetches it, since it knows your mirrors and proxies.
unpack() {
  local artifact=keycloak-quarkus-dist archive
  archive=$1/$artifact-$version.tar.gz
  command -v mvn >/dev/null ||
    fail "Maven is missing, which fetches Keycloak: install it (Debian: apt install maven; macOS: brew install maven), or set KEYCLOAK_HOME to the folder of an unpacked Keycloak $version"
  say "Fetching Keycloak $version with Maven (176 MB, once) …"
  # Runs there, so that no pom.xml in the caller's folder has an effect.
  (cd "$1" && mvn -q -B -Dstyle.color=never dependency:copy \
    -Dartifact="org.keycloak:$artifact:$version:tar.gz" -DoutputDirectory="$1" >&2) ||
    fail "Keycloak could not be fetched: look at the lines above, and at your network or proxy"
  is_genuine "$archive" ||
    fail "what Maven has is not Keycloak $version: its SHA-256 is not $sha256; nothing of it was run. Delete org/keycloak/$artifact from Maven's repository (~/.m2/repository), and look at your mirrors"
  tar -xzf "$archive" -C "$1"
}

# Prepares the distribution beside its place and then moves it there: what is there is whole.
prepare() {
  mkdir -p "$here/dist"
  work=$(mktemp -d "$here/dist/new.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  if [ -n "${KEYCLOAK_HOME:-}" ]; then
    grep -qxF "Keycloak - Version $version" "$KEYCLOAK_HOME/version.txt" 2>/dev/null ||
      fail "KEYCLOAK_HOME is $KEYCLOAK_HOME, where no Keycloak $version is: its version.txt should say so"
    mkdir "$work/keycloak-$version"
    cp -R "$KEYCLOAK_HOME/." "$work/keycloak-$version"
    rm -rf "$work/keycloak-$version/data" # what another Keycloak knows
  else
    unpack "$work"
  fi
  say "Preparing Keycloak (once) …"
  "$work/keycloak-$version/bin/kc.sh" build "${build[@]}" >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    fail "Keycloak's build failed: see above"
  }
  # Another start.sh may have been faster.
  [ -d "$dist" ] || mv "$work/keycloak-$version" "$dist"
  rm -rf "$work"
  trap - EXIT
}

start() {
  for tool in curl ps pgrep tar; do
    command -v "$tool" >/dev/null || fail "$tool is missing: install it first (Debian: apt install curl procps tar)"
  done
  lock
  if running; then
    answers || fail "Keycloak runs already on $data, but not on port $port: stop it first, or give this one another --data"
    [[ $(readlink "$data/lib") == */"${dist##*/}/lib" ]] ||
      fail "Keycloak runs already on $data, but was built with other options: stop it, and start it again"
    say "Keycloak runs already."
    return
  fi
  need_java
  for address in 127.0.0.1 ::1; do
    if (: <"/dev/tcp/$address/$port") 2>/dev/null; then
      fail "port $port is busy on $address: stop what uses it, or choose another with --port"
    fi
  done
  [ -d "$dist" ] || prepare

  # This comes first, because it marks the folder as ours: the script may be interrupted.
  [ -s "$data/admin-password" ] || od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$data/admin-password"
  # Keycloak keeps its data in its own folder: this one has its program by links.
  mkdir -p "$data/bin" "$data/data/import"
  cp "$dist/bin/kc.sh" "$data/bin/"
  for part in conf lib providers themes; do ln -sfn "$dist/$part" "$data/$part"; done
  local imported=$data/data/import/mcp-realm-realm.json # Keycloak asks for this name
  if ! [ -d "$data/data/h2" ]; then
    cp "$here/mcp-realm.json" "$imported"
  elif ! cmp -s "$here/mcp-realm.json" "$imported"; then
    say "mcp-realm.json has changed since it was imported, and Keycloak never overwrites a realm: to begin anew, stop and delete $data."
  fi

  say "Starting Keycloak (10 to 60 seconds; log: $data/log) …"
  KC_BOOTSTRAP_ADMIN_USERNAME=admin KC_BOOTSTRAP_ADMIN_PASSWORD=$(cat "$data/admin-password") \
    JAVA_OPTS_APPEND="-XX:TieredStopAtLevel=1 ${JAVA_OPTS_APPEND:-}" \
    nohup "$data/bin/kc.sh" start --optimized --import-realm --cache=local \
    --http-enabled=true --http-host=127.0.0.1 --http-port="$port" --hostname="$base" \
    </dev/null >"$data/log" 2>&1 9>&- &
  echo $! >"$data/pid"
  trap stop EXIT # unless it becomes ready
  until answers; do
    if ! running; then
      tail -n 20 "$data/log" >&2
      fail "Keycloak did not start: the lines above are the last of $data/log"
    fi
    sleep 0.2
  done
  trap - EXIT
}

if [ "$verb" = stop ]; then
  lock
  stop
  exit
fi
start
cat <<EOF
Keycloak $version is ready.
  issuer         $issuer
  people         mcp-admin/admin123, mcp-user/user123, mcp-readonly/readonly123, alice/alice123, bob/bob123, guest/guest123
  MCP server     cargo run -p step10 -- --issuer $issuer --profile keycloak
  admin console  $base/admin/ (admin; the password is in $data/admin-password)
  stop it        keycloak/start.sh$options stop
EOF
