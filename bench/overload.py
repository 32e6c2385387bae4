#!/usr/bin/env python3
"""Measures one claim about overload against Tidegate alone, and prints each figure beside its target.

    bench/overload.py stopped --rounds 5
    bench/overload.py trickle -- --keys 500

Figures: trickle, stopped, flood, bid, crash, drain, hot. What each does stands in docs/benchmarks.md. Words after
`--` go to `tidegate load` and count for more than those of the figure. A run whose sums do not add up
is no figure: it ends here. The exit status is 1 when a target is missed. Each run starts and stops its own
server, with bench/lanes.toml, on loopback. `--keep FILE` appends the JSON of every run to a file.
"""

import argparse
import json
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile

from ratios import BINARY, SECRET, free_port, start

MIB = 1 << 20


def load(arguments, words, stop=None):
    """One run against a server of its own, stopped by a signal and replaced when all are connected; returns the report."""
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as directory:
        port, directory = free_port(), pathlib.Path(directory)
        server = start("tidegate", port, directory, arguments, "lanes.toml")
        try:
            command = ["taskset", "-c", arguments.load_cores, BINARY, "load", *replaced(words, arguments.words)]
            command += ["--url", f"ws://127.0.0.1:{port}/v1/ws", "--json", "--secret", SECRET]
            # The process that replaces it has another pid.
            command += [] if stop else ["--pid", str(server.pid)]
            process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            if stop:
                for line in process.stderr:
                    if line.rstrip().endswith("connected") and " of " not in line:
                        break
                server.send_signal(stop)
                server.wait()
                server = start("tidegate", port, directory, arguments, "lanes.toml")
            stdout, stderr = process.communicate()
        finally:
            server.send_signal(signal.SIGKILL)
            server.wait()
    if process.returncode != 0:
        sys.exit(f"status {process.returncode}: {stderr[-2000:]}")
    report = json.loads(stdout.splitlines()[-1])
    if arguments.keep:
        with open(arguments.keep, "a") as file:
            file.write(json.dumps(report) + "\n")
    return report


def replaced(words, by):
    """The words of a figure, without those options that are given anew."""
    kept, words = [], list(map(str, words))
    for place, word in enumerate(words):
        option = word if word.startswith("--") else words[place - 1]
        if option not in by:
            kept.append(word)
    return [*kept, *by]


def grown(report):
    return (report["memory_peak_bytes"] - report["memory_before_bytes"]) / MIB


# Each yields (what, figure, relation, target); without a target it is for the reader only.


def trickle(arguments):
    words = ["slow", "--namespace", "latest", "--lane", "latest", "--subscribers", 20, "--stopped", 0]
    words += ["--trickling", 5, "--trickle", "1Mbit", "--rate", 1000, "--keys", 50, "--seconds", 10]
    report = load(arguments, words)
    for name in ["p50_ms", "p95_ms"]:
        yield f"age of what a 1 Mbit/s reader sees, {name}", report["trickling"][name], None, None
    yield "age of what a 1 Mbit/s reader sees, p99_ms", report["trickling"]["p99_ms"], "<=", 250
    yield "age of what a 1 Mbit/s reader sees, max_ms", report["trickling"]["max_ms"], None, None
    yield "the others' p99_ms", report["others"]["p99_ms"], None, None
    share = report["trickling"]["delivered"] / report["trickling"]["due"]
    yield "share delivered to it; the rest conflated, and told", share, None, None


def stopped(arguments):
    words = ["slow", "--subscribers", 5000, "--rate", 5, "--seconds", 10]
    without, beside = load(arguments, [*words, "--stopped", 0]), load(arguments, [*words, "--stopped", 50])
    p99 = [report["others"]["p99_ms"] for report in (without, beside)]
    yield "p99_ms, none stopped", p99[0], None, None
    yield "p99_ms of the others, 50 of 5,000 stopped", p99[1], None, None
    yield "of it to none stopped", p99[1] / p99[0], "<=", 1.1
    yield "server memory more at most, MiB, none stopped", grown(without), None, None
    yield "server memory more at most, MiB, 50 stopped", grown(beside), "<=", grown(without) + 8


def flood(arguments):
    report = load(arguments, ["flood", "--seconds", 20])
    yield "unloaded p99_ms of acknowledgements", report["unloaded_p99_ms"], None, None
    yield "peak, acknowledged a second", report["peak_per_second"], None, None
    yield "offered, of the peak", report["offered_per_second"] / report["peak_per_second"], ">=", 4.5
    yield "goodput, of the peak", report["goodput_to_peak"], ">=", 0.9
    yield "p99 of the admitted, of unloaded", report["admitted_to_unloaded_p99"], "<", 3
    yield "p99_ms of reject answers", report["reject_p99_ms"], "<=", 10
    yield "seconds until normal", report["seconds_until_normal"], "<=", 2


def bid(arguments):
    report = load(arguments, ["mixed", "--bid", "--seconds", 20])
    yield "bids alone, p99_ms", report["bids_alone_p99_ms"], None, None
    yield "bids beside the flood, p99_ms", report["bids_beside_p99_ms"], None, None
    yield "of it to alone", report["bids_beside_to_alone"], "<=", 1.2
    yield "cursors, p99_ms", report["cursors"]["p99_ms"], None, None


def crash(arguments):
    words = ["storm", "--wait-restart", "--connections", 18000, "--rooms", 1000, "--rate", 200, "--seconds", 20]
    report = load(arguments, words, stop=signal.SIGKILL)
    yield "seconds until all are back", report.get("seconds_until_all_are_back", float("inf")), "<=", 60
    yield "missed", report["storm"]["missed"] + report["storm"]["lost"], "<=", 0
    yield "replayed", report["storm"]["replayed"], None, None
    yield "p99_ms before", report["storm"]["phases"]["before"]["p99_ms"], None, None
    yield "p99_ms of those already back", report["storm"]["phases"]["storm"]["p99_ms"], "<", 100


def drain(arguments):
    words = ["storm", "--drain", "--connections", 18000, "--rooms", 400, "--rate", 200, "--seconds", 60]
    report = load(arguments, words, stop=signal.SIGTERM)
    yield "slots a second", report["slots_per_second"], None, None
    yield "reconnects in the busiest second, of that", report["reconnects_peak_to_paced"], "<=", 1.5
    yield "attempts before their slot", report["attempts_before_slot"], "<=", 0
    yield "missed", report["storm"]["missed"] + report["storm"]["lost"], "<=", 0
    yield "back after the slot, p99_ms", report["back_p99_ms"], None, None


def hot(arguments):
    report = load(arguments, ["hot", "--seconds", 10])
    yield "quiet rooms p99_ms", report["quiet"]["p99_ms"], "<=", 10
    yield "hot room p99_ms", report["hot"]["p99_ms"], "<=", 150
    lost = sum(report[name]["lost"] + report[name]["missed"] for name in ("hot", "quiet"))
    yield "lost", lost, "<=", 0
    yield "connections closed", report["closed_connections"], "<=", 0
    yield "server CPU, cores", (report["cpu_user_s"] + report["cpu_kernel_s"]) / report["seconds"], None, None


# Shards, the server's cores, the generator's: both share both where both are needed.
FIGURES = {
    trickle: (1, "0", "1"),
    stopped: (1, "0", "1"),
    flood: (1, "0", "1"),
    bid: (1, "0", "1"),
    crash: (1, "0", "1"),
    drain: (1, "0", "1"),
    hot: (2, "0,1", "0,1"),
}
HOLDS = {"<=": float.__le__, "<": float.__lt__, ">=": float.__ge__}


def main():
    figures = {figure.__name__: figure for figure in FIGURES}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=figures)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shards", type=int)
    parser.add_argument("--server-cores")
    parser.add_argument("--load-cores")
    parser.add_argument("--keep", metavar="FILE")
    own, _, words = " ".join(sys.argv[1:]).partition(" -- ")
    arguments = parser.parse_args(own.split())
    arguments.words = words.split()
    figure = figures[arguments.figure]
    shards, server_cores, load_cores = FIGURES[figure]
    arguments.shards = arguments.shards or shards
    arguments.server_cores = arguments.server_cores or server_cores
    arguments.load_cores = arguments.load_cores or load_cores
    rounds = []
    for number in range(arguments.rounds):
        rounds.append(list(figure(arguments)))
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    is_met = True
    print(f"{'median of ' + str(arguments.rounds):56}{'figure':>12}{'target':>12}")
    for each in zip(*rounds):
        what, _, relation, _ = each[0]
        value = statistics.median(float(entry[1]) for entry in each)
        if relation is None:
            print(f"{what:56}{value:12.2f}")
            continue
        target = statistics.median(float(entry[3]) for entry in each)
        holds = HOLDS[relation](value, target)
        is_met &= holds
        print(f"{what:56}{value:12.2f}{relation + f' {target:.4g}':>12}  {'met' if holds else 'MISSED'}")
    sys.exit(0 if is_met else 1)


if __name__ == "__main__":
    main()
