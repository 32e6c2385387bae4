#!/usr/bin/env bash
# RFC 6455 and 7692: the Autobahn cases, driven by kosoku against our codec (the echo example),
# in a release build. Every case must be OK; what the RFC leaves open may also be INFORMATIONAL.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --locked --release -q -p tidegate-wire --example ws_echo
out=out/websocket
rm -rf "$out"
mkdir -p "$out"
coproc ECHO { exec target/release/examples/ws_echo; }
echo_pid=$ECHO_PID
trap 'kill "$echo_pid" 2>/dev/null || true' EXIT
read -r address <&"${ECHO[0]}"

.venv/bin/kosoku "$address" -x '12.*' -x '13.*' -o "$out/core" >"$out/core.log" 2>&1 || { tail -n 40 "$out/core.log"; exit 1; }
.venv/bin/kosoku "$address" -i '12.*' -i '13.*' -p 2 -o "$out/deflate" >"$out/deflate.log" 2>&1 || { tail -n 40 "$out/deflate.log"; exit 1; }
python3 tests/websocket_verdict.py "$out/core/index.json" 301 "$out/deflate/index.json" 216
