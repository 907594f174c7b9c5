"""A small HTTP server on this machine that answers as a test tells it to."""

import contextlib
import socket
import threading


class Server:
    """Answers each request with what `reply(head, body)` returns: bytes, or None to hang up.

    A reply may also be a function of the connection, for what bytes cannot say.
    """

    def __init__(self, reply, *, context=None):
        self.reply = reply
        self.context = context
        self.connections = 0
        self.requests = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.scheme = "https" if context else "http"
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self._open = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection):
        with contextlib.suppress(OSError, ValueError):
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as incoming:
                while self._answer(connection, incoming):
                    pass

    def _answer(self, connection, incoming):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = incoming.readline()
            if not line:
                return False
            head += line
        headers = dict(
            line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:] if line
        )
        body = incoming.read(int(headers.get("Content-Length", 0)))
        self.requests.append((head, headers, body))
        reply = self.reply(head, body)
        if callable(reply):
            reply = reply(connection)
        if reply is None:
            return False
        connection.sendall(reply)
        return b"\r\nConnection: close" not in reply

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join(5)

    @property
    def lines(self):
        return [head.split(b"\r\n")[0].decode("latin-1") for head, _, _ in self.requests]


def answer(status=200, body=b"{}", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named.setdefault("Content-Length", len(body))
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{k}: {v}" for k, v in named.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
