"""The proxies under test: how each is configured, started and asked for its version.

All have one worker thread, keep-alive connections to the app, X-Forwarded-For, -Proto and -Host, TLS 1.2 and 1.3 with
an ECDSA P-256 certificate, and HTTP/2 by ALPN.
"""
from __future__ import annotations

import base64
import dataclasses
import json
import os
import subprocess
import urllib.request
from pathlib import Path

from measure import PROGRAMS, WORK, Processes, answers, free_port, until

NAME = "localhost"  # wrk takes SNI from the URL, so it must resolve


@dataclasses.dataclass
class Place:
    """Where a peer runs."""
    directory: Path
    http: int
    https: int
    origin: str
    certificate: Path
    key: Path
    headers: list  # of requests, as wrk takes them


class Peer:
    name = ""
    notes = ""
    headers: list = []
    scenarios = ("plain", "tls", "handshakes", "h2")
    env: dict = {}

    def version(self) -> str:
        raise NotImplementedError

    def files(self, place: Place) -> dict:
        return {}

    def argv(self, place: Place) -> list:
        raise NotImplementedError

    def start(self, place: Place, processes: Processes):
        for name, text in self.files(place).items():
            (place.directory / name).write_text(text)
        processes.spawn(self.argv(place), self.env)

    def after_round(self, place: Place):
        """Called between two rounds."""


def said(*argv) -> str:
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=True)
    return (done.stdout + done.stderr).strip().splitlines()[0]


class Gatewright(Peer):
    """gatewright-proxy with a Redis and gatewright-api beside it, on the other core; only the proxy is counted."""
    name = "gatewright"
    notes = "access log (JSON, to a file) and metrics on"
    settings: dict = {}
    rules: dict = {}

    def version(self):
        return said(PROGRAMS / "gatewright-proxy", "--version")

    def start(self, place, processes):
        redis, api, admin = free_port(), free_port(), free_port()
        shared = {"GATEWRIGHT_STORE": f"redis://127.0.0.1:{redis}", "GATEWRIGHT_CERT_KEY": "Q" * 43 + "="}
        processes.spawn(["redis-server", "--port", redis, "--bind", "127.0.0.1", "--save", "", "--dir",
                         place.directory], counted=False)
        until("redis listens", lambda: listens(redis), processes=processes)
        processes.spawn([PROGRAMS / "gatewright-api"], counted=False, env={
            **shared, "GATEWRIGHT_API_LISTEN": f"127.0.0.1:{api}", "GATEWRIGHT_SECRET_KEY": "A" * 43 + "=",
            "GATEWRIGHT_ADMIN_PASSWORD": "correct horse battery", "GATEWRIGHT_STATE_DIR": str(place.directory / "api"),
            "GATEWRIGHT_LOOKUP_SOCKET": str(place.directory / "lookup.sock")})
        processes.spawn([PROGRAMS / "gatewright-proxy"], env={
            **shared, **self.settings, "GATEWRIGHT_HTTP_LISTEN": f"127.0.0.1:{place.http}", "GATEWRIGHT_WORKERS": "1",
            "GATEWRIGHT_HTTPS_LISTEN": f"127.0.0.1:{place.https}", "GATEWRIGHT_ACCESS_LOG": "json",
            "GATEWRIGHT_PROXY_ADMIN_LISTEN": f"127.0.0.1:{admin}", "GATEWRIGHT_ACCESS_LOG_FILE": str(self.log(place)),
            "GATEWRIGHT_STATE_DIR": str(place.directory / "proxy")})
        for port in (api, admin):
            until("it is ready", lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz"),
                  processes=processes)
        token = call(api, "/api/auth/login", {"username": "admin", "password": "correct horse battery"})["token"]
        host = {"host": NAME, "upstreams": [place.origin], "force_https": False, **self.rules}
        call(api, "/api/host?wait=applied", host, token)

    def log(self, place):
        return place.directory / "access.log"

    def after_round(self, place):
        os.truncate(self.log(place), 0)


class GatewrightGuarded(Gatewright):
    """With every protection that a host can have, and none that refuses."""
    name = "gatewright+rules"
    notes = "the same, with limits of rate, connections, bodies and requests in flight, allowed and denied networks, a password, " \
        "HSTS, security headers, a breaker"
    headers = ["Authorization: Basic " + base64.b64encode(b"guest:correct horse").decode()]
    scenarios = ("plain", "tls")
    settings = {"GATEWRIGHT_MAX_CONNECTIONS_PER_CLIENT": "10000"}
    rules = {
        "allow": ["127.0.0.0/8"], "deny": ["192.0.2.0/24", "198.51.100.0/24"],
        "rate_limit": [{"requests": 1_000_000, "per_seconds": 1, "by": "client"}],
        "basic_auth": {"users": {"guest": "correct horse"}},
        "limits": {"max_body": 1_000_000, "max_connections": 1_000},
        "hsts": {"max_age": 31_536_000}, "security_headers": True,
        "breaker": {"failures": 5, "open_for": "10s"},
    }


def listens(port):
    import socket
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
    return True


def call(port, path, body, token=""):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(),
        {"Content-Type": "application/json", **({"auth-token": token} if token else {})})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{path}: {error.code} {error.read().decode()}") from error


class Nginx(Peer):
    name = "nginx"
    notes = "access log off"
    log = "access_log off;"

    def version(self):
        return said("nginx", "-v").removeprefix("nginx version: ")

    def files(self, p):
        user = "user root;" if os.geteuid() == 0 else ""
        return {"nginx.conf": f"""
worker_processes 1;
daemon off;
pid {p.directory}/nginx.pid;
error_log {p.directory}/error.log error;
worker_rlimit_nofile 20000;
{user}
events {{ worker_connections 16384; }}
http {{
    {self.log.replace("LOG", str(p.directory / "access.log"))}
    sendfile on;
    tcp_nodelay on;
    keepalive_timeout 300s;
    keepalive_requests 100000000;
    client_body_temp_path {p.directory}/b; proxy_temp_path {p.directory}/p; fastcgi_temp_path {p.directory}/f;
    uwsgi_temp_path {p.directory}/u; scgi_temp_path {p.directory}/s;
    upstream origin {{ server {p.origin}; keepalive 512; keepalive_requests 100000000; }}
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:SSL:20m;
    ssl_session_tickets on;
    map $http_upgrade $conn_up {{ default upgrade; '' ''; }}
    server {{
        listen 127.0.0.1:{p.http} backlog=4096;
        listen 127.0.0.1:{p.https} ssl http2 backlog=4096;
        server_name _;
        ssl_certificate {p.certificate};
        ssl_certificate_key {p.key};
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Connection $conn_up;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $host;
            proxy_buffer_size 16k;
            proxy_buffers 16 32k;
            proxy_busy_buffers_size 128k;
        }}
    }}
}}
"""}

    def argv(self, p):
        return ["nginx", "-p", p.directory, "-c", p.directory / "nginx.conf", "-e", p.directory / "error.log"]


class NginxLogging(Nginx):
    name = "nginx+log"
    notes = "access log (combined, buffered, to a file) on"
    log = "access_log LOG combined buffer=64k flush=1s;"

    def after_round(self, place):
        os.truncate(place.directory / "access.log", 0)


class Haproxy(Peer):
    name = "haproxy"
    notes = "log off"
    log = ""

    def version(self):
        return " ".join(said("haproxy", "-v").split()[:3])

    def files(self, p):
        both = p.directory / "both.pem"
        return {"both.pem": p.certificate.read_text() + p.key.read_text(), "haproxy.cfg": f"""
global
    nbthread 1
    maxconn 9000
    {"log stdout format raw local0" if self.log else ""}
    ssl-default-bind-options ssl-min-ver TLSv1.2
    tune.ssl.cachesize 50000
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-keep-alive 300s
    http-reuse always
    option forwardfor
    {self.log}
frontend fe
    bind 127.0.0.1:{p.http} backlog 4096
    bind 127.0.0.1:{p.https} ssl crt {both} alpn h2,http/1.1 backlog 4096
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    default_backend origin
backend origin
    server s1 {p.origin} pool-max-conn 512
"""}

    def argv(self, p):
        return ["haproxy", "-db", "-f", p.directory / "haproxy.cfg"]


class HaproxyLogging(Haproxy):
    name = "haproxy+log"
    notes = "HTTP log (to a file) on"
    log = "log global\n    option httplog"

    def after_round(self, place):
        os.truncate(place.directory / "haproxy.log", 0)


class Caddy(Peer):
    name = "caddy"
    notes = "access log off (its default), GOMAXPROCS=1"
    env = {"GOMAXPROCS": "1"}
    program = WORK / "venv/bin/caddy"

    def version(self):
        return "caddy " + said(self.program, "version").split()[0]

    def files(self, p):
        proxy = {"handler": "reverse_proxy", "upstreams": [{"dial": p.origin}], "transport": {
            "protocol": "http",
            "keep_alive": {"idle_timeout": "300s", "max_idle_conns": 512, "max_idle_conns_per_host": 512}}}
        server = {"routes": [{"handle": [proxy]}], "automatic_https": {"disable": True}}
        return {"caddy.json": json.dumps({
            "admin": {"disabled": True},
            "logging": {"logs": {"default": {"level": "ERROR"}}},
            "apps": {
                "tls": {"certificates": {"load_files": [{"certificate": str(p.certificate), "key": str(p.key)}]}},
                "http": {"servers": {
                    "plain": {"listen": [f"127.0.0.1:{p.http}"], **server},
                    "tls": {"listen": [f"127.0.0.1:{p.https}"], "tls_connection_policies": [{}],
                            "protocols": ["h1", "h2"], **server}}},
            }})}

    def argv(self, p):
        return [self.program, "run", "--config", p.directory / "caddy.json"]


PEERS = {peer.name: peer for peer in (
    Gatewright(), GatewrightGuarded(), Nginx(), NginxLogging(), Haproxy(), HaproxyLogging(), Caddy())}


class Running:
    """A peer that is up and answers on both ports."""

    def __init__(self, peer: Peer, origin: str, certificate: Path, key: Path):
        self.peer = peer
        directory = WORK / "run" / peer.name
        directory.mkdir(parents=True)
        self.place = Place(directory, free_port(), free_port(), origin, certificate, key, peer.headers)
        self.processes = Processes(directory)
        try:
            peer.start(self.place, self.processes)
            for port, tls in ((self.place.http, False), (self.place.https, True)):
                until(f"{peer.name} answers", lambda: answers(port, NAME, tls, peer.headers), processes=self.processes)
        except BaseException:
            self.processes.stop()
            raise
