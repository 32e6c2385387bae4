#!/usr/bin/env python3
"""Holds the planner against the real server: predicts first, then measures, and writes docs/fidelity.md.

    bench/fidelity.py predict      # calibrates this machine; plans and predictions go to bench/fidelity/
    git commit bench/fidelity      # so that nobody can say they came after
    bench/fidelity.py measure      # the same loads for real; docs/fidelity.md
    bench/fidelity.py both --quick # all of it in two minutes, to see that it works; writes nothing into docs/

Five loads from 0.3 to 0.95 of the knee that the calibration gives, a burst, readers that stopped, and `kill -9` with 3,400
clients that come back within three windows. The server has core 0 and one shard, the generator core 1; publications
are a Poisson process, as the model has them, and the way over loopback is taken as no time. The exit status is 1 when
something is off by more than is allowed: five points of utilisation, 15 % of the p50, 25 % of the p95, 40 % of the p99,
30 % of the recovery.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import ratios
from ratios import ROOT, SECRET, free_port

KEPT = ROOT / "bench/fidelity"
PAGE = ROOT / "docs/fidelity.md"
CONFIG = """[engine]
kind = "log"
dir = "data"
[auth]
keys = [{{ algorithm = "HS256", secret = "{secret}" }}]
[limits]
in_flight_max = 10000
reconnect_window = "{window}ms"
[[namespace]]
name = "load"
"""
SHARES = [0.3, 0.46, 0.63, 0.79, 0.95]
ROOMS, MEMBERS = 20, 50
WINDOWS_MS = [500, 2000, 5000]
AGAIN_MS_MAX = 2000
# From the kill to the moment the next process is started.
DOWN = 1.5
ALLOWED = {"utilisation": 0.05, "p50": 0.15, "p95": 0.25, "p99": 0.40, "recovery p99": 0.30}

PLAN = """title = "{title}"
prices = "aws-us-east-1"

[contract]
uptime = "50%"
budget = 1000

[contract.latency]
all = "p95 < 1s"

[scenario]
length = "{length}"
users = {{ shape = "constant", base = {users} }}
session = {{ law = "fixed", length = "744h" }}
network_p50 = "0s"
network_p95 = "0s"
{scenario}
[class.load]
rate = "{rate:.9f}/s"
bytes = "600B"
room = {{ {room} }}

[clients]
{clients}
[topology]
ways = ["clients -> ws"]

[node.ws]
kind = "ws"
size = "c7g.medium"

[failures]
crashes_per_year = 0
deploys_per_week = 0
{failures}"""


def tidegate(*words):
    ended = subprocess.run([ratios.BINARY, *map(str, words)], capture_output=True, text=True)
    if ended.returncode not in (0, 1, 3):
        sys.exit(f"tidegate {' '.join(map(str, words))}: status {ended.returncode}\n{ended.stderr[-2000:]}")
    return ended.stdout


class Server:
    """One of its own, on core 0."""

    def __init__(self, window=2000):
        self.directory = tempfile.TemporaryDirectory(prefix="tidegate-fidelity-")
        self.path = pathlib.Path(self.directory.name)
        (self.path / "tidegate.toml").write_text(CONFIG.format(secret=SECRET, window=window))
        self.port = free_port()
        self.url = f"ws://127.0.0.1:{self.port}/v1/ws"
        self.starts_s = self.start()

    def start(self):
        """Returns how long it took until it took connections."""
        began = time.monotonic()
        command = ["taskset", "-c", "0", ratios.BINARY, "serve", "--config", "tidegate.toml", "--shards", "1"]
        command += ["--listen", f"127.0.0.1:{self.port}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(list(map(str, command)), cwd=self.path, **quiet)
        while time.monotonic() - began < 30:
            try:
                ratios.socket.create_connection(("127.0.0.1", self.port)).close()
                return time.monotonic() - began
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"the server ended with {self.process.returncode}")
                time.sleep(0.002)
        sys.exit("the server does not answer")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.directory.cleanup()


def generator(server, words, pid=True):
    command = ["taskset", "-c", "1", ratios.BINARY, "load", *words, "--url", server.url, "--secret", SECRET]
    return list(map(str, [*command, *(["--pid", server.process.pid] if pid else [])]))


# Predicting.


def calibrate(quick):
    KEPT.mkdir(exist_ok=True)
    words = ["calibrate", "--emit", KEPT / "costs.toml", "--sizes", "10,50,200", "--date", time.strftime("%Y-%m-%d")]
    words += ["--rounds", 3, "--seconds", 4, "--idle-seconds", 0] if quick else ["--rounds", 8, "--seconds", 24]
    with Server() as server:
        run = subprocess.run(generator(server, words), capture_output=True, text=True)
        if run.returncode != 0:
            sys.exit(f"calibrate: {run.stderr[-2000:]}")
        print(run.stdout)
        return server.starts_s


def cost(name):
    for block in (KEPT / "costs.toml").read_text().split("[figure.")[1:]:
        if block.startswith(name + "]"):
            return float(block.split("value = ")[1].split()[0])
    sys.exit(f"the calibration did not measure {name}; give it more --seconds, or a quieter machine")


def cases(starts_s):
    """Each: its name, its plan, the words of its load, and what is compared."""
    latencies = ["utilisation", "p50", "p95", "p99"]
    each = cost("publish") + MEMBERS * cost("delivery")
    knee = 1 / each
    users = ROOMS * MEMBERS
    plain = {"length": "1min", "scenario": "", "clients": "", "failures": ""}
    for share in SHARES:
        rate = share * knee
        yield {
            "name": f"{share:.2f} of the knee",
            "plan": PLAN.format(**plain | {"title": f"{share} of the knee", "users": users, "rate": rate / users,
                                           "room": f'law = "fixed", size = {MEMBERS}'}),
            "load": ["rooms", "--rooms", ROOMS, "--subscribers", MEMBERS, "--rate", round(rate, 3), "--poisson"],
            "class": "rooms", "rate": rate, "compare": latencies,
        }
    crowd = 500
    base = 0.1 / (cost("publish") + crowd * cost("delivery"))
    kicks = "".join(f'\n[[failure]]\nat = "{at}s"\nnode = "ws"\nwhat = "kick"\nfactor = 8\nlasts = "1s"\n' for at in range(5, 60, 6))
    yield {
        "name": "a burst: 8 times as much for 1 s of 6",
        "plan": PLAN.format(**plain | {"title": "a burst", "users": crowd, "rate": base / crowd, "room": 'law = "everyone"',
                                       "failures": kicks}),
        "load": ["burst", "--subscribers", crowd, "--rate", round(base, 3), "--factor", 8, "--burst-ms", 1000,
                 "--every", 6, "--poisson"],
        "class": "burst", "rate": base, "compare": latencies,
    }
    rate = 0.4 / (cost("publish") + crowd * cost("delivery"))
    yield {
        "name": "5 of 500 readers stopped: the others",
        "plan": PLAN.format(**plain | {"title": "slow readers", "users": crowd, "rate": rate / crowd, "room": 'law = "everyone"',
                                       "scenario": 'slow_readers = "1%"\nslow_reader_rate = "1B/s"\n'}),
        "load": ["slow", "--subscribers", crowd, "--stopped", 5, "--rate", round(rate, 3), "--poisson"],
        # One in a hundred sees nothing: the p99 of all is theirs.
        "class": "others", "rate": rate, "compare": ["utilisation", "p50", "p95"],
    }
    for window in WINDOWS_MS:
        # As the generator's clients do it: a random wait below the window, which doubles up to two seconds.
        clients = f'backoff_first = "{window}ms"\nbackoff_max = "{max(window, AGAIN_MS_MAX)}ms"\njitter = "full"\n'
        crash = f'\n[[failure]]\nat = "20s"\nnode = "ws"\nwhat = "crash"\nback_after = "{DOWN + starts_s:.3f}s"\n'
        yield {
            "name": f"kill -9, 3,400 clients, back within {window / 1000:g} s",
            "plan": PLAN.format(**plain | {"title": f"kill -9, {window} ms", "users": 3400, "rate": 200 / 3400,
                                           "room": 'law = "fixed", size = 10', "clients": clients, "failures": crash}),
            "load": ["storm", "--wait-restart", "--connections", 3400, "--rooms", 340, "--rate", 200],
            "window": window, "compare": ["recovery p99"],
        }


def predict(quick):
    starts_s = calibrate(quick)
    predictions = []
    for number, case in enumerate(cases(starts_s)):
        plan = KEPT / f"{number + 1:02}.toml"
        plan.write_text(case.pop("plan"))
        tidegate("plan", "calibrate", plan, "--costs", KEPT / "costs.toml", "--out", plan)
        # The generator's clients speak no TLS.
        plan.write_text(plan.read_text().replace("[costs.measured]\n", '[costs.measured]\ntls = "0s"\n'))
        run = json.loads(tidegate("plan", "run", plan, "--fidelity", "exact", "--runs", 2 if quick else 8, "--json"))
        latency = run["classes"][0]["latency_s"]
        busy = max(station["busy_share"] for station in run["stations"] if station["node"] == "ws")
        case["predicted"] = {
            "utilisation": busy,
            "recovery p99": run["connections"]["reconnect_s"]["p99"],
            **{name: latency[name] for name in ("p50", "p95", "p99")},
        }
        case["plan"] = plan.name
        predictions.append(case)
        print(f"predicted: {case['name']}", file=sys.stderr)
    facts = {"knee_per_second": 1 / (cost("publish") + MEMBERS * cost("delivery")), "starts_s": starts_s}
    (KEPT / "predictions.json").write_text(json.dumps({"facts": facts, "cases": predictions}, indent=1) + "\n")


# Measuring.


def ticks():
    """All cores' seconds of work since the boot."""
    fields = list(map(int, pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:]))
    return (sum(fields[:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK")


def children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_case(case, seconds):
    with Server(case.get("window", 2000)) as server:
        is_crash = "window" in case
        words = [*case["load"], "--seconds", 20 if is_crash else seconds, "--json"]
        before, own, began = ticks(), children(), time.monotonic()
        load = subprocess.Popen(generator(server, words, not is_crash), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if is_crash:
            for line in load.stderr:
                if line.rstrip().endswith("connected") and " of " not in line:
                    break
            server.kill()
            time.sleep(DOWN)
            server.start()
        stdout, stderr = load.communicate()
        elapsed = time.monotonic() - began
        if load.returncode != 0:
            return {"failed": (stderr.strip().splitlines() or ["no report"])[-1][-200:]}
        report = json.loads(stdout.splitlines()[-1])
        generated = children() - own
        cpu = report.get("cpu_user_s", 0) + report.get("cpu_kernel_s", 0)
        # What neither of both did, where both are known: someone else's.
        others = 0 if is_crash else max(0, ticks() - before - generated - cpu) / elapsed / os.cpu_count()
        measured = {"generator": generated / elapsed, "others": others}
        if is_crash:
            measured["recovery p99"] = report["away_p99_ms"] / 1000
        else:
            latency = report[case["class"]]
            measured["utilisation"] = cpu / report["seconds"]
            # What it takes to connect counts, too: a little too much rather than too little.
            measured["generator"] = generated / report["seconds"]
            measured |= {name: latency[f"{name}_ms"] / 1000 for name in ("p50", "p95", "p99")}
    return measured


def is_hit(name, predicted, measured):
    off = measured - predicted if name == "utilisation" else measured / max(predicted, 1e-9) - 1
    return off, abs(off) <= ALLOWED[name]


def reason(case, name, measured, off):
    """What was seen that would explain a miss; in this order."""
    utilisation = measured.get("utilisation", 0)
    if measured["others"] > 0.1:
        return f"other programs used {measured['others']:.0%} of the machine meanwhile: a quieter one would tell"
    if measured["generator"] > 0.85 and name != "utilisation":
        return f"the generator's own core was {measured['generator']:.0%} busy: what it reads waits there, too"
    if off < 0 and case["predicted"]["utilisation"] > 0.6 and "rate" in case:
        return "a busy server joins what waits for a subscriber into one write; the model gives each delivery its own"
    if name in ("p50", "p95", "p99") and max(case["predicted"][name], measured[name]) < 0.002:
        return "below 2 ms: the wake-ups of epoll, of the engine's thread and of the generator, which the model leaves out"
    if name in ("p95", "p99") and off > 0 and utilisation < 0.9:
        return "the store's flushes and compaction run on the same core; the model has no station for them"
    if name == "recovery p99":
        return "when exactly the next process listens, and the kernel's queue of those who come first, are not modelled"
    return "not known: what was measured tells no more"


def shown(name, value):
    if name == "utilisation":
        return f"{value:.1%}"
    return f"{value * 1000:.2f} ms" if value < 1 else f"{value:.2f} s"


def measure(seconds, page):
    kept = json.loads((KEPT / "predictions.json").read_text())
    rows, why, misses = [], [], 0
    for case in kept["cases"]:
        measured = measure_case(case, seconds)
        print(f"measured: {case['name']}: {measured}", file=sys.stderr)
        if "failed" in measured:
            misses += 1
            rows.append(f"| {case['name']} | all | | | | **miss** |")
            why.append(f"* {case['name']}: there is no measurement: {measured['failed']}")
            continue
        for name in case["compare"]:
            predicted = case["predicted"][name]
            if predicted is None:
                sys.exit(f"{case['name']}: nothing was predicted of {name}")
            off, hit = is_hit(name, predicted, measured[name])
            said = f"{off * 100:+.1f} points" if name == "utilisation" else f"{off:+.0%}"
            verdict = "hit" if hit else "**miss**"
            rows.append(f"| {case['name']} | {name} | {shown(name, predicted)} | {shown(name, measured[name])} | {said} | {verdict} |")
            if not hit:
                misses += 1
                why.append(f"* {case['name']}, {name}: {reason(case, name, measured, off)}.")
    text = document(kept, rows, why, misses)
    print(text)
    if page:
        PAGE.write_text(text)
    return misses


def committed():
    git = ["git", "-C", str(ROOT)]
    path = str(KEPT / "predictions.json")
    log = subprocess.run([*git, "log", "-1", "--format=%h of %cs", "--", path], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain", "--", path], capture_output=True, text=True).stdout.strip()
    return "not committed before the run" if changed or not log else f"committed before the run ({log})"


def document(kept, rows, why, misses):
    processor = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    place = f"{os.cpu_count()} cores, {processor}, Linux {os.uname().release}, {time.strftime('%Y-%m-%d')}"
    return "\n".join([
        "# Fidelity: the planner held against the server",
        "",
        "This page is made by `bench/fidelity.py measure`. Predictions are those of `plan run --fidelity exact` with the costs that",
        f"`tidegate load calibrate` measured on the same machine, {committed()}: `bench/fidelity/`.",
        f"The machine: {place}. The server has core 0 and one shard, the generator core 1, on loopback without TLS; publications of",
        f"500 bytes as a Poisson process. The knee is where the calibrated costs fill the core: {kept['facts']['knee_per_second']:.0f} publications a",
        f"second into rooms of {MEMBERS}." + ("" if "release" in str(ratios.BINARY) else " The binary was not a release build."),
        "",
        "Allowed are 5 points of utilisation, 15 % of the p50, 25 % of the p95, 40 % of the p99 and 30 % of the recovery.",
        f"{len(rows) - misses} of {len(rows)} hit.",
        "",
        "| load | | predicted | measured | off | |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        *(["## Why what missed did", "", *why, ""] if why else []),
    ])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["predict", "measure", "both"])
    parser.add_argument("--quick", action="store_true", help="short, in a directory of its own; nothing is kept")
    parser.add_argument("--binary", help="another than target/release/tidegate", default=ratios.BINARY)
    arguments = parser.parse_args()
    ratios.BINARY = pathlib.Path(arguments.binary).resolve()
    global KEPT
    kept_nowhere = tempfile.mkdtemp(prefix="tidegate-fidelity-") if arguments.quick else None
    if kept_nowhere:
        KEPT = pathlib.Path(kept_nowhere)
    try:
        if arguments.what != "measure":
            predict(arguments.quick)
        misses = 0 if arguments.what == "predict" else measure(3 if arguments.quick else 12, not arguments.quick)
    finally:
        if kept_nowhere:
            shutil.rmtree(kept_nowhere)
    sys.exit(1 if misses else 0)


if __name__ == "__main__":
    main()
