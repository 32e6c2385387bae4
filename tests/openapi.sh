#!/usr/bin/env bash
# Fetches the OpenAPI document from the built server, started in an empty folder on a free port,
# and has it validated; then shows that the validator can say no.
set -euo pipefail
cd "$(dirname "$0")/.."

tidegate=$PWD/target/release/tidegate
validator=$PWD/.venv/bin/openapi-spec-validator
for program in "$tidegate" "$validator"; do
  [ -x "$program" ] || { echo "openapi: $program is missing; run \`make setup release\`" >&2; exit 1; }
done

folder=$(mktemp -d)
server=
finish() {
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$folder"
}
trap finish EXIT

# Opened before the server starts, so that its lines can be waited for.
mkfifo "$folder/log"
(cd "$folder" && exec env -u TIDEGATE_CONFIG -u TIDEGATE_LISTEN -u TIDEGATE_LOG \
  "$tidegate" serve --listen 127.0.0.1:0 --shards 1 --log-format json >"$folder/log" 2>&1) &
server=$!
exec 3<"$folder/log"

said=
address=
while IFS= read -r -t 20 line <&3; do
  said+=$line$'\n'
  if [[ $line == *listening* && $line =~ 127\.0\.0\.1:([0-9]+) ]]; then
    address=${BASH_REMATCH[0]}
    break
  fi
done
[ -n "$address" ] || { echo "openapi: the server did not start:" >&2; printf '%s' "$said" >&2; exit 1; }
cat <&3 >/dev/null &

curl -fsS --max-time 20 "http://$address/v1/openapi.json" -o "$folder/openapi.json"
cmp "$folder/openapi.json" crates/server/src/api/openapi.json \
  || { echo "openapi: the binary has another document than the sources; run \`make release\`" >&2; exit 1; }
"$validator" "$folder/openapi.json"

# The same document without answers is not valid.
sed 's/"responses"/"answers"/' "$folder/openapi.json" >"$folder/broken.json"
if "$validator" "$folder/broken.json" >/dev/null 2>&1; then
  echo "openapi: the validator also accepts a document without responses" >&2
  exit 1
fi

kill "$server"
wait "$server" || { echo "openapi: the server ended with status $?" >&2; server=; exit 1; }
server=
