#!/usr/bin/env bash
# `wire`, `core` and `plan` are pure: bytes, events and `now` in; values out. This holds their
# sources and their dependencies to it, and what is shipped to have no planted bugs. Test modules are bound by it too.
set -euo pipefail
cd "$(dirname "$0")/.."

banned='tokio|mio::|async fn|\.await|std::net|std::fs|std::process|std::env|std::thread|thread_local|std::time::(Instant|SystemTime)|Instant::now|SystemTime|std::sync|Mutex|RwLock|Condvar|Atomic[A-Z]|\bArc\b|crossbeam|parking_lot|libc::|rand::|getrandom'
# Comments may name what the code must not.
if grep -nrE "$banned" crates/wire/src crates/core/src crates/plan/src | grep -vE '^[^:]+:[0-9]+:\s*//'; then
  echo "purity: the lines above name what crates/wire, crates/core and crates/plan must not know" >&2
  exit 1
fi

impure='^(tokio|mio|async-.*|futures.*|rand|getrandom|socket2|rustix|crossbeam.*|parking_lot|hyper|axum|fjall|rustls|tracing.*) '
for crate in tidegate-wire tidegate-core tidegate-plan; do
  if cargo tree --locked -q -p "$crate" -e normal --prefix none | grep -E "$impure"; then
    echo "purity: $crate depends on the crates above" >&2
    exit 1
  fi
done

# What is shipped has no bugs to plant: `crates/sim` alone asks for them, and a plain build leaves it out.
for build in "-p tidegate" ""; do
  # shellcheck disable=SC2086
  if cargo tree --locked -q $build -e features -i tidegate-core | grep -F '"planted"'; then
    echo "purity: \`cargo build $build\` has tidegate-core's feature \`planted\`" >&2
    exit 1
  fi
done

# The planner gives the same bytes on every machine: what IEEE 754 does not fix comes from `libm`.
inexact='\.(ln|ln_1p|log|log2|log10|exp|exp2|exp_m1|powf|powi|sin|cos|tan|sinh|cosh|tanh|hypot|cbrt)\('
if grep -nrE "$inexact" crates/plan/src | grep -vE '^[^:]+:[0-9]+:\s*//'; then
  echo "purity: the lines above are not the same on every machine; use libm" >&2
  exit 1
fi
echo "purity: crates/wire, crates/core and crates/plan are pure, and nothing shipped can plant a bug"
