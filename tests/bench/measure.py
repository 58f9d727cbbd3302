"""Processes pinned to a core, what they cost, and the load on them."""
from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

PROXY_CORE, LOAD_CORE = 0, 1
TICK = os.sysconf("SC_CLK_TCK")
HERE = Path(__file__).resolve().parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parents[1] / "target")
PROGRAMS = TARGET / "release"
WORK = TARGET / "bench"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Processes:
    """Programs that belong together. Those that are `counted` make up the proxy; the rest only helps it along."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.all: list[subprocess.Popen] = []
        self.counted: list[int] = []

    def spawn(self, argv, env=None, counted=True):
        core = PROXY_CORE if counted else LOAD_CORE
        log = open(self.directory / f"{Path(argv[0]).name}.log", "ab")
        child = subprocess.Popen(
            [str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            cwd=self.directory, env={"PATH": os.environ["PATH"], "HOME": str(self.directory), **(env or {})},
            preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        self.all.append(child)
        if counted:
            self.counted.append(child.pid)

    def pids(self):
        """The counted processes and their children."""
        children: dict[int, list[int]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    children.setdefault(int(stat(entry)[1]), []).append(int(entry))
        todo, found = list(self.counted), []
        while todo:
            found.append(todo.pop())
            todo += children.get(found[-1], [])
        return found

    def cpu(self):
        """User and system seconds since their start, of all threads."""
        user = system = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = stat(pid)
                user, system = user + int(fields[11]), system + int(fields[12])
        return user / TICK, system / TICK

    def memory(self):
        """Proportional set size in MiB: shared pages count once."""
        kib = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
                kib += int(found[1]) if found else 0
        return kib / 1024

    def check(self):
        for child in self.all:
            if child.poll() is not None:
                name = Path(child.args[0]).name
                tail = (self.directory / f"{name}.log").read_text(errors="replace")[-800:]
                raise RuntimeError(f"{name} ended with {child.returncode}:\n{tail}")

    def stop(self):
        for child in reversed(self.all):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
        end = time.time() + 3
        for child in self.all:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.05, end - time.time()))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def stat(pid):
    """The fields of /proc/PID/stat from the state on."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2:].split()


def until(what, ask, seconds=20, processes=None):
    """Asks until the answer is true; connection errors are an answer as well: not yet."""
    end = time.time() + seconds
    while True:
        with contextlib.suppress(OSError):
            if ask():
                return
        if processes:
            processes.check()
        if time.time() > end:
            raise RuntimeError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def answers(port, name, tls, headers=()):
    """Whether a request for `name` gets 200."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = context.wrap_socket(connection, server_hostname=name)
        fields = "".join(f"{field}\r\n" for field in (f"Host: {name}", "Connection: close", *headers))
        connection.sendall(f"GET / HTTP/1.1\r\n{fields}\r\n".encode())
        return b" 200 " in connection.recv(4096)[:16]


# ------------------------------------------------------------------ load: each returns requests, errors, rps, µs

def load(argv, seconds):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=seconds + 60,
                          preexec_fn=lambda: os.sched_setaffinity(0, {LOAD_CORE}))
    if done.returncode:
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-400:]}")
    return done.stdout


def wrk(url, name, seconds, headers=()):
    """64 keep-alive connections, each with one request at a time."""
    fields = [argument for field in (f"Host: {name}", *headers) for argument in ("-H", field)]
    out = load(["wrk", "-t1", "-c64", f"-d{seconds}s", *fields, "-s", HERE / "wrk.lua", url], seconds)
    return json.loads(out[out.index("JSON ") + 5:].splitlines()[0])


def handshakes(port, name, seconds):
    """16 connections at a time, each new: full TLS 1.3 handshake, one request, close."""
    program = PROGRAMS / "bench-handshakes"
    out = load([program, f"127.0.0.1:{port}", name, "--seconds", seconds], seconds)
    return json.loads(out.strip().splitlines()[-1])


def h2load(url, seconds):
    """32 connections with 10 streams each."""
    log = WORK / f"h2load.{os.getpid()}.log"
    log.unlink(missing_ok=True)
    out = load(["h2load", "-t1", "-c32", "-m10", "-D", seconds, f"--log-file={log}", url], seconds)
    total = re.search(r"requests: \d+ total.*?(\d+) succeeded, (\d+) failed, (\d+) errored", out)
    latencies = sorted(int(line.rsplit("\t", 1)[1]) for line in log.open())
    log.unlink()

    def quantile(q):
        return latencies[min(len(latencies) - 1, int(len(latencies) * q))] if latencies else 0
    return {"requests": int(total[1]), "errors": int(total[2]) + int(total[3]),
            "rps": float(re.search(r"finished in .*?, ([\d.]+) req/s", out)[1]),
            "p50": quantile(.5), "p99": quantile(.99), "p999": quantile(.999)}
