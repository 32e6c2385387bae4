#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS, two at a time, from the seeds that are kept.
# A crash leaves its input in fuzz/artifacts and fails the run.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-60}
# The stable compiler knows the sanitizer flags; this lets it admit that.
export RUSTC_BOOTSTRAP=1
fuzz=$PWD/.venv/bin/cargo-fuzz
mapfile -t targets < <(sed -nE 's/^name = "([a-z_]+)"$/\1/p' fuzz/Cargo.toml | grep -v '^tidegate')
[ "${#targets[@]}" -gt 0 ] || { echo "no fuzz targets" >&2; exit 1; }

"$fuzz" build --fuzz-dir fuzz
run() {
  mkdir -p "fuzz/corpus/$1" "fuzz/seeds/$1"
  if "$fuzz" run --fuzz-dir fuzz "$1" "fuzz/corpus/$1" "fuzz/seeds/$1" -- \
    -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 >"fuzz/target/$1.log" 2>&1; then
    echo "fuzz: $1 $(grep -oE 'number_of_executed_units: [0-9]+' "fuzz/target/$1.log")"
  else
    tail -n 60 "fuzz/target/$1.log" >&2
    echo "fuzz: $1 failed" >&2
    return 1
  fi
}
export -f run
export fuzz seconds
printf '%s\n' "${targets[@]}" | xargs -P 2 -I{} bash -c 'run {}'
