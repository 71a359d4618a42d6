"""The real `backscroll serve --http` on loopback, for the scripts that let others judge it. Sync, since those wait."""

import json
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PATIENCE_SECONDS = 30
BUSY = 503
"""The one status above 499 that a sound server may give: it says when to come again."""


class Program:
    """The installed source of this checkout, with folders of its own, so that nothing of whoever runs it is touched."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """`folder` gets the database. `settings` are named as in the environment, without the prefix."""
        self.folder = folder
        self.database = folder / "served.db"
        homes = {f"XDG_{name}_HOME": str(folder / name.lower()) for name in ("CONFIG", "DATA", "CACHE", "STATE")}
        told = {f"BACKSCROLL_{name}": value for name, value in {"SEMANTIC": "off", **settings}.items()}
        package = str(Path(__file__).parents[1] / "server")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": package,
            **homes,
            **told,
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "backscroll", *arguments, "--db", str(self.database)]

    def token(self, user: str, scope: str = "read,write,delete") -> str:
        """A new access token."""
        made = subprocess.run(
            self.command("token", "create", "--user", user, "--scope", scope, "--expires", "1h"),
            check=True,
            capture_output=True,
            text=True,
            env=self.environment,
        )
        return made.stdout.strip()


class Served:
    """A server that runs."""

    def __init__(self, process: subprocess.Popen[str], said: Mapping[str, Any]) -> None:
        self.process = process
        self.url: str = said["url"]
        self.base = self.url.removesuffix("/mcp")
        self._log: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def post(self, message: Mapping[str, Any], token: str) -> Any:
        """The answer to one request of the old era. Raises HTTPError."""
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        request = urllib.request.Request(self.url, json.dumps(message).encode(), headers)  # noqa: S310, loopback
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310, loopback
            return json.load(answer)

    def call(self, tool: str, token: str, **arguments: Any) -> Any:
        params = {"name": tool, "arguments": arguments}
        return self.post({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, token)

    def complaints(self) -> list[str]:
        """What its log tells that must not be: failures inside, and whether it still serves."""
        found = [line.strip()[:600] for line in self._log if _bad(line)]
        try:
            with urllib.request.urlopen(f"{self.base}/readyz", timeout=PATIENCE_SECONDS):  # noqa: S310, loopback
                pass
        except OSError as error:
            found.append(f"/readyz: {error}")
        return found

    def _read(self) -> None:
        assert self.process.stderr is not None
        self._log.extend(self.process.stderr)


def _bad(line: str) -> bool:
    """Whether a line of the log is not as it should be, or tells of a failure inside."""
    try:
        told = json.loads(line)
    except ValueError:
        return True
    status = told.get("status") or 0
    return status != BUSY and (status >= 500 or told.get("level") in ("error", "critical"))


@contextmanager
def serving(program: Program) -> Iterator[Served]:
    """The server, asking for tokens, on a free port of loopback. Raises RuntimeError where it does not stop as told."""
    process = subprocess.Popen(
        program.command("serve", "--http", "127.0.0.1:0"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=program.environment,
    )
    try:
        assert process.stderr is not None
        yield Served(process, json.loads(process.stderr.readline()))
        process.send_signal(signal.SIGTERM)
        if process.wait(PATIENCE_SECONDS) != 0:
            raise RuntimeError(f"the server ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()


# For checkers that know of no tokens


@contextmanager
def with_token(url: str, token: str) -> Iterator[str]:
    """The URL of a relay on loopback that adds the token to each request and changes nothing else of it."""
    address = (urlsplit(url).hostname, urlsplit(url).port)

    class Relay(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head = bytearray()
            while (line := self.rfile.readline(65_536)) not in (b"\r\n", b""):
                head += line
            if not head:
                return
            # One request a connection, so that none goes without the token.
            first, _, rest = bytes(head).partition(b"\r\n")
            rest = re.sub(rb"(?im)^(?:connection|authorization):[^\n]*\n", b"", rest)
            added = b"Connection: close\r\nAuthorization: Bearer " + token.encode() + b"\r\n\r\n"
            with socket.create_connection(address) as server:
                server.sendall(first + b"\r\n" + rest + added)
                up = threading.Thread(target=self._pass_on, args=(server,), daemon=True)
                up.start()
                while piece := server.recv(65_536):
                    self.wfile.write(piece)

        def _pass_on(self, server: socket.socket) -> None:
            try:
                while piece := self.rfile.read1(65_536):
                    server.sendall(piece)
            except (OSError, ValueError):
                pass  # The answer is there, and either side has closed.

    class Relays(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that leaves is no error of ours."""

    with Relays(("127.0.0.1", 0), Relay) as relays:
        thread = threading.Thread(target=relays.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{relays.server_address[1]}/mcp"
        finally:
            relays.shutdown()
            thread.join()
