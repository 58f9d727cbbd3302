"""A WSGI app on the standard library's server (HTTP/1.0, the connection's end is the answer's). Prints its port."""

from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.util import request_uri

PIECE = bytes(range(256)) * 256


def app(environ, start_response):
    own = f"http://127.0.0.1:{environ['SERVER_PORT']}"
    path = environ["PATH_INFO"]
    if path == "/old":
        start_response("301 Moved Permanently", [("Location", f"{own}/new?from=old"), ("Content-Length", "0")])
        return []
    if path.startswith("/download/"):
        pieces = int(path.removeprefix("/download/"))
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return (PIECE for _ in range(pieces))
    if path == "/upload":
        size = int(environ.get("CONTENT_LENGTH") or 0)
        left = size
        while left:
            read = environ["wsgi.input"].read(min(left, 1 << 16))
            if not read:
                break
            left -= len(read)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(size - left).encode()]
    start_response("200 OK", [("Content-Type", "text/plain")])
    told = [request_uri(environ)]
    told += [f"{name}={environ.get('HTTP_' + name, '')}" for name in ("HOST", "X_FORWARDED_PROTO", "X_FORWARDED_FOR")]
    return ["\n".join(told).encode()]


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Handler(WSGIRequestHandler):
    def log_message(self, *_):
        pass


with make_server("127.0.0.1", 0, app, Server, Handler) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
