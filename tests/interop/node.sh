# Installs what real clients in Node.js need, pinned by package-lock.json, in the current folder if it is missing.
for tool in node npm; do
  command -v "$tool" >/dev/null || { echo "$tool is missing: install Node.js 20" >&2; exit 1; }
done
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent --no-audit --no-fund
[ -x node_modules/node/bin/node ] || (cd node_modules/node && node installArchSpecificPackage)
