#!/usr/bin/env python3
"""Runs one workload against the floor and against Tidegate, in turn, and prints medians and ratios.

    bench/ratios.py viral --rounds 5 -- --subscribers 8000 --rate 5 --quiet 100

Servers are pinned to core 0, the generator to core 1. Everything stays on loopback; each run starts
and stops its own servers. The words after `--` go to `tidegate load`.
"""

import argparse
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/release/tidegate"
SECRET = "a-secret-for-benchmarks-on-loopback-only"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(kind, port, directory, arguments, config_name="tidegate.toml"):
    pinned = ["taskset", "-c", arguments.server_cores]
    if kind == "tidegate":
        config = directory / "tidegate.toml"
        config.write_text((ROOT / "bench" / config_name).read_text())
        command = [BINARY, "serve", "--config", config, "--listen", f"127.0.0.1:{port}"]
        command += ["--shards", str(arguments.shards)]
    else:
        modes = {"floor": [], "corked": ["--corked"], "fair": ["--fair"]}
        command = [BINARY, "load", "floor", "--listen", f"127.0.0.1:{port}", *modes[kind]]
    server = subprocess.Popen([*pinned, *command], cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(1000):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return server
        except OSError:
            if server.poll() is not None:
                sys.exit(f"{kind} ended with {server.returncode}")
            time.sleep(0.01)
    sys.exit(f"{kind} does not answer")


def run(kind, arguments):
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as directory:
        port = free_port()
        server = start(kind, port, pathlib.Path(directory), arguments)
        try:
            command = ["taskset", "-c", arguments.load_core, BINARY, "load", arguments.workload]
            command += ["--url", f"ws://127.0.0.1:{port}/v1/ws", "--json", *arguments.words]
            command += ["--secret", SECRET] if kind == "tidegate" else []
            # Another process has another pid after a crash.
            command += ["--wait-restart"] if arguments.crash else ["--pid", str(server.pid)]
            load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            if arguments.crash:
                for line in load.stderr:
                    if "connected" in line and " of " not in line:
                        break
                server.kill()
                server.wait()
                server = start(kind, port, pathlib.Path(directory), arguments)
            stdout, stderr = load.communicate()
        finally:
            server.send_signal(signal.SIGKILL)
            server.wait()
    lines = [line for line in stdout.splitlines() if line.startswith("{")]
    if not lines:
        sys.exit(f"{kind}: {stderr[-500:]}")
    return flatten(json.loads(lines[-1]))


def flatten(report):
    flat = {}
    for name, value in report.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": number for inner, number in value.items()}
        elif isinstance(value, (int, float)):
            flat[name] = value
    return flat


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload")
    parser.add_argument("--floor", choices=["floor", "corked", "fair"], default="floor")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--server-cores", default="0")
    parser.add_argument("--load-core", default=str(os.cpu_count() - 1))
    parser.add_argument("--alone", action="store_true", help="Tidegate only, without a floor")
    parser.add_argument("--crash", action="store_true", help="storm: the server is killed and started again")
    own, _, words = " ".join(sys.argv[1:]).partition(" -- ")
    arguments = parser.parse_args(own.split())
    arguments.words = words.split()
    kinds = ["tidegate"] if arguments.alone else [arguments.floor, "tidegate"]
    rounds = {kind: [] for kind in kinds}
    for number in range(arguments.rounds):
        for kind in kinds:
            rounds[kind].append(run(kind, arguments))
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    names = [name for name in rounds["tidegate"][0] if all(name in r for kind in kinds for r in rounds[kind])]
    print(f"{'':36}" + "".join(f"{kind:>14}" for kind in kinds) + f"{'ratio':>10}")
    for name in names:
        medians = [statistics.median(report[name] for report in rounds[kind]) for kind in kinds]
        ratio = f"{medians[1] / medians[0]:10.2f}" if len(medians) == 2 and medians[0] else ""
        print(f"{name:36}" + "".join(f"{median:14.3f}" for median in medians) + ratio)


if __name__ == "__main__":
    main()
