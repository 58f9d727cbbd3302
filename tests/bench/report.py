"""The table, and the page that keeps it."""
from __future__ import annotations

import os
import platform
import re
import statistics
import time
from pathlib import Path

FIGURES = ("rps", "cpu", "user", "system", "p50", "p99", "p999", "memory", "errors")


def medians(rows):
    """One row for each scenario and peer. `ratio` is what a request costs of what it costs the cheapest program that is not of
    the same family, round by round: what slows the whole machine down for a while, slows both."""
    groups: dict = {}
    for row in rows:
        groups.setdefault((row["scenario"], row["peer"]), []).append(row)
    told = [{"scenario": scenario, "peer": peer,
             **{figure: statistics.median(row[figure] for row in group) for figure in FIGURES}}
            for (scenario, peer), group in groups.items()]
    for row in told:
        others = [other for other in told
                  if other["scenario"] == row["scenario"] and family(other["peer"]) != family(row["peer"])]
        best = min(others, key=lambda other: other["cpu"], default=None)
        own = groups[row["scenario"], row["peer"]]
        row["ratio"] = statistics.median(
            ours["cpu"] / theirs["cpu"] for ours, theirs in zip(own, groups[row["scenario"], best["peer"]])
        ) if best and best["cpu"] else None
    return told


def family(peer):
    return peer.split("+")[0]


def table(rows, titles):
    """Markdown. `vs best` below 1 is better than all others."""
    lines = ["| scenario | proxy | CPU µs/request (user + system) | vs best other | requests/s | p50 µs | p99 µs "
             "| p99.9 µs | memory MiB | errors |", "|---|---|---|---|---|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: (list(titles).index(row["scenario"]), row["cpu"])):
        ratio = f"{row['ratio']:.2f}" if row["ratio"] else ""
        lines.append(
            f"| {titles[row['scenario']]} | {row['peer']} | {row['cpu']:.2f} ({row['user']:.1f} + {row['system']:.1f}) "
            f"| {ratio} | {row['rps']:,.0f} | {row['p50']:,.0f} | {row['p99']:,.0f} | {row['p999']:,.0f} "
            f"| {row['memory']:.1f} | {row['errors']:.0f} |")
    return "\n".join(lines)


def machine():
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    release = re.search(r'PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text())
    return (f"{os.cpu_count()} × {cpu[1] if cpu else platform.machine()}, Linux {platform.release().split('-')[0]}, "
            f"{release[1] if release else platform.system()}")


def page(rows, titles, versions, rounds, seconds):
    peers = "\n".join(f"| {name} | {version} | {notes} |" for name, (version, notes) in versions.items())
    return f"""# Benchmarks

Written by `tests/bench/run`; run it again rather than edit it. {time.strftime("%d %B %Y")}, {machine()}.

{table(rows, titles)}

Medians of {rounds} rounds of {seconds} s, interleaved: every proxy once, then every proxy again. `vs best other` divides a
proxy's CPU time per request by that of the cheapest program of the others, round by round, and takes the median: whatever slows
the machine down for a while slows both. Below 1 it is cheaper than all of them.

| proxy | version | |
|---|---|---|
{peers}

## Method

* The proxy has core 0 to itself, with one worker; the app and the load generator share core 1.
* CPU time is what the kernel booked to all processes of the proxy (`/proc/PID/stat`, user and system) divided by the
  requests answered. It is the figure to compare: a busy neighbour moves requests per second and latencies much more.
* The app answers 1 KiB over keep-alive connections, on one thread of epoll. All proxies keep connections to it open
  and add `X-Forwarded-For`, `-Proto` and `-Host`.
* *plain*, *TLS*: wrk, 64 keep-alive connections with a request at a time. *new TLS connections*: 16 at a time, a full
  TLS 1.3 handshake with X25519 and ECDSA P-256, one request, close. *HTTP/2*: h2load, 32 connections, 10 streams each.
* Memory is the proportional set size after the scenario, in a process that was started for it.
* Gatewright runs as `gatewright-proxy` fed by `gatewright-api` over Redis; both of those run on core 1 and are not counted,
  the proxy's own work to follow them is.

## Caveats

* Gatewright writes its access log and counts its metrics. `nginx+log` and `haproxy+log` write theirs as well (a third of the
  length, and nothing is counted); `nginx`, `haproxy` and Caddy write none.
* Where a proxy needs less than the load generator does, core 1 is the limit and requests per second say little.
* Two cores on one machine, loopback, small answers: the ranking on your network with your traffic may be another.
* Differences under some 5 % are ties: the same program differs by as much from run to run.
"""
