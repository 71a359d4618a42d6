"""The hook program: it keeps what it is told, and ends with 0 whatever happens. Real processes on a real disk."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import platformdirs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backscroll import spool
from backscroll.capture.locating import located
from backscroll.config import default_database, load_settings
from backscroll.hooks.placing import place_of
from backscroll.memory import Memory
from cli_doors import PATIENCE_SECONDS, environment
from hook_doors import CAPTURE, adjusted, capture, claude, codex, cursor, gemini, kept

SECRET = "the teapot stands behind the lemon tree"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the database that hooks capture for would be."""
    folder = tmp_path / "data"
    monkeypatch.setenv("BACKSCROLL_DB", str(folder / "talk.db"))
    return folder


def failures(folder: Path) -> list[str]:
    return [reason for _, reason in spool.failures(spool.Place(str(folder / "talk.db"), "local", ""))]


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}


# Keeping


def test_a_payload_is_kept_as_it_came_for_its_owner_alone(folder: Path) -> None:
    payload = json.dumps(claude("Stop", last_assistant_message=SECRET)).encode() + b"\n"
    done = capture(payload, preexec_fn=lambda: os.umask(0))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert kept(folder) == [payload]
    (entry,) = (folder / "spool").iterdir()
    assert modes(folder) == {"data": 0o700, "spool": 0o700, entry.name: 0o600}
    assert failures(folder) == []


def test_a_spool_that_others_can_read_is_closed(folder: Path) -> None:
    (folder / "spool").mkdir(parents=True)
    (folder / "spool").chmod(0o755)
    capture(claude("Stop"))
    assert modes(folder)["spool"] == 0o700


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (claude("SessionStart"), b""),
        (codex("SessionStart"), b""),
        (gemini("SessionStart"), b"{}\n"),
        (gemini("BeforeAgent", prompt=SECRET), b"{}\n"),
        (cursor("beforeSubmitPrompt", prompt=SECRET), b"{}\n"),
        ({"sessionId": "v-1", "hookEventName": "SessionStart"}, b""),
        ({"host": "opencode", "event": "session.idle", "session_id": "ses_1"}, b""),
        ({"of": "nobody knows whom"}, b""),
    ],
)
def test_it_says_to_each_host_only_what_that_host_can_read(folder: Path, payload: dict[str, str], said: bytes) -> None:
    done = capture(payload)
    assert (done.returncode, done.stdout, done.stderr) == (0, said, b"")
    assert len(kept(folder)) == 1


def test_many_at_once_lose_nothing_and_mix_nothing(folder: Path) -> None:
    payloads = [
        json.dumps(claude("Stop", n=n, last_assistant_message=chr(65 + n) * 200_000)).encode() for n in range(24)
    ]
    with ThreadPoolExecutor(8) as pool:
        assert {done.returncode for done in pool.map(capture, payloads)} == {0}
    assert sorted(kept(folder)) == sorted(payloads)


def test_entries_come_in_the_order_of_their_capture_each_to_its_own_database_and_user(folder: Path) -> None:
    for n in range(3):
        capture({"n": n})
    capture({"n": 3}, env={"BACKSCROLL_USER": "ada"})
    capture({"n": 4}, "--db", str(folder / "other.db"))

    def numbers(name: str, user: str) -> list[int]:
        place = spool.Place(str(folder / name), user, "")
        return [json.loads(spool.read(entry) or b"")["n"] for entry in spool.entries(place)]

    assert numbers("talk.db", "local") == [0, 1, 2]
    assert numbers("talk.db", "ada") == [3]
    assert numbers("other.db", "local") == [4]
    assert spool.length(spool.Place(str(folder / "talk.db"), "local", "")).entries == 3


# Whatever happens


@pytest.mark.parametrize("payload", [b"{", b"\xff\xfe\x00", b'{"prompt": "\\ud800"}', b"[" * 100_000, b"null", b"\n"])
def test_what_is_no_json_is_kept_all_the_same(folder: Path, payload: bytes) -> None:
    done = capture(payload)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert kept(folder) == [payload]


def test_without_a_payload_it_ends_well(folder: Path) -> None:
    assert capture(b"").returncode == 0
    closed = subprocess.run(
        ["/bin/sh", "-c", '"$0" "$@" <&-', *CAPTURE], env=environment(), capture_output=True, timeout=60, check=False
    )
    assert (closed.returncode, closed.stdout) == (0, b"")
    assert failures(folder) == ["OSError: Bad file descriptor"]


def test_a_payload_beyond_the_limit_is_cut_and_the_rest_is_counted(folder: Path) -> None:
    whole = json.dumps(claude("Stop")).encode() + b" " * (40 << 20)
    assert capture(whole).returncode == 0
    (entry,) = spool.entries(spool.Place(str(folder / "talk.db"), "local", ""))
    assert (entry.size_bytes, entry.cut_bytes) == (32 << 20, len(whole) - (32 << 20))
    assert kept(folder) == [whole[: 32 << 20]]


def test_an_input_that_does_not_end_is_not_waited_for_for_ever(folder: Path) -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b'{"half": ')
        code = "from backscroll.capture import main, stdin\nstdin.TIMEOUT_S = 0.3\nmain([])"
        done = subprocess.run(
            [sys.executable, "-c", code], stdin=reading, env=environment(), capture_output=True, timeout=60, check=False
        )
    finally:
        os.close(reading)
        os.close(writing)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert kept(folder) == [b'{"half": ']


def test_where_there_is_no_room_it_ends_well_and_notes_it_without_a_word_of_the_payload(folder: Path) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, 4_096))

    done = capture(claude("Stop", last_assistant_message=SECRET * 1_000), preexec_fn=small_files)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert list((folder / "spool").iterdir()) == []
    assert failures(folder) == ["OSError: File too large"]
    assert SECRET not in (folder / spool.FAILURES).read_text()


def test_a_folder_that_cannot_be_written_is_no_failure_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    done = capture(claude("Stop"), "--db", str(tmp_path / "file" / "talk.db"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "spool").write_text("no folder either")
    done = capture(claude("Stop"), "--db", str(tmp_path / "data" / "talk.db"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert failures(tmp_path / "data") == ["NotADirectoryError: Not a directory"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_who_asks_it_to_end_sees_it_end_well(folder: Path, number: signal.Signals) -> None:
    code = "import os\nfrom backscroll.capture import stdin, main\nread = stdin.payload\n" + (
        "import backscroll.capture as program\nprogram.payload = lambda: (os.write(1, b'reading'), read())[1]\nmain([])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(7) == b"reading"
        process.send_signal(number)
        assert process.wait(timeout=PATIENCE_SECONDS) == 0
    assert failures(folder) == ["stopped before the payload was read"]


def test_a_host_that_does_not_listen_is_no_failure(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*CAPTURE], input=json.dumps(gemini("AfterAgent")).encode(), stdout=writing, env=environment(),
            stderr=subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(kept(folder)) == 1


def test_what_a_killed_process_leaves_is_no_entry_and_is_swept_out(folder: Path) -> None:
    payload = json.dumps(claude("Stop", last_assistant_message="x" * (24 << 20))).encode()
    place = spool.Place(str(folder / "talk.db"), "local", "")
    torn = 0
    for _ in range(6):
        with subprocess.Popen([*CAPTURE], stdin=subprocess.PIPE, env=environment()) as process:
            assert process.stdin is not None
            process.stdin.write(payload)
            process.stdin.close()
            # The moment something is there, it is killed: before, while or after it is written out.
            while process.poll() is None and not list((folder / "spool").glob("*")):
                pass
            process.kill()
            process.wait(timeout=PATIENCE_SECONDS)
        torn += len(list((folder / "spool").glob("*.tmp")))
        for entry in spool.entries(place):
            assert spool.read(entry) == payload
            spool.done(entry)
        for left in (folder / "spool").iterdir():
            os.utime(left, (0, 0))
        assert list(spool.entries(place)) == []
        assert list((folder / "spool").iterdir()) == []
    assert torn


def test_a_full_spool_keeps_the_oldest_and_says_what_it_refused(folder: Path) -> None:
    for n in range(5):
        done = adjusted("spool.MAX_ENTRIES = 3", json.dumps({"n": n}).encode())
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert [json.loads(payload)["n"] for payload in kept(folder)] == [0, 1, 2]
    assert failures(folder) == ["spool full", "spool full"]
    adjusted("spool.MAX_BYTES = 1_000", b"x" * 990)
    assert failures(folder) == ["spool full"] * 3


def test_failures_are_remembered_within_bounds(folder: Path) -> None:
    place = spool.Place(str(folder / "talk.db"), "local", "")
    for n in range(3_000):
        spool.note(place, f"reason\n{n} {'x' * 300}")
    found = failures(folder)
    assert found[-1].startswith("reason 2999 ")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3 * spool.MAX_FAILURES_BYTES


# What the user decided


def test_nothing_is_kept_while_capturing_is_paused(folder: Path) -> None:
    folder.mkdir()
    (folder / spool.PAUSED).touch()
    assert capture(claude("Stop", last_assistant_message=SECRET)).returncode == 0
    assert kept(folder) == []
    assert failures(folder) == []
    (folder / spool.PAUSED).unlink()
    capture(claude("Stop"))
    assert len(kept(folder)) == 1


def test_nothing_is_kept_of_a_source_that_the_user_excludes(folder: Path, own_folders: Path) -> None:
    capture(claude("Stop"), env={"BACKSCROLL_EXCLUDE_SOURCES": "gemini, Claude_Code"})
    assert kept(folder) == []
    capture(codex("Stop"), env={"BACKSCROLL_EXCLUDE_SOURCES": "gemini, claude-code"})
    assert len(kept(folder)) == 1
    (own_folders / ".config" / "backscroll").mkdir(parents=True)
    (own_folders / ".config" / "backscroll" / "config.toml").write_text('exclude_sources = "codex"\n')
    capture(codex("Stop"))
    assert len(kept(folder)) == 1


# Where the database is


@pytest.mark.parametrize(
    "setting",
    [
        None,
        "{tmp}/a/talk.db",
        "sqlite:////{tmp}/a/talk.db",
        "sqlite:///{quoted}/a%20b/talk.db",
        "talk.db",
        "sub/talk.db",
        "~/own/talk.db",
        "postgresql://ada@host/backscroll",
    ],
)
@pytest.mark.parametrize("way", ["flag", "environment", "config"])
def test_the_spool_lies_where_the_settings_say_that_the_database_is(
    tmp_path: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch, setting: str | None, way: str
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = {}
    value = None if setting is None else setting.format(tmp=str(tmp_path).lstrip("/"), quoted=quote(str(tmp_path)))
    if setting == "{tmp}/a/talk.db":
        value = f"/{value}"
    if value is not None and way == "flag":
        flags = {"db": value, "user": "ada"}
    elif value is not None and way == "environment":
        monkeypatch.setenv("BACKSCROLL_DB", value)
        monkeypatch.setenv("BACKSCROLL_USER", "ada")
    elif value is not None:
        config = own_folders / ".config" / "backscroll" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'sync = "all"\ndb = {json.dumps(value)}\nuser = "ada"\n')
    effective = load_settings(flags)
    said = located(flags)
    expected = spool.Place(effective.database_url(), effective.user, str(default_database().parent))
    assert (said.place.folder, said.place.address) == (expected.folder, expected.address)
    assert said.problems == []


async def test_a_memory_looks_for_its_spool_where_its_hooks_keep_it(memory: Memory, database: Path) -> None:
    assert capture(claude("Stop"), env={"BACKSCROLL_DB": str(database), "BACKSCROLL_USER": "ada"}).returncode == 0
    assert len(list(spool.entries(place_of(memory)))) == 1


@pytest.mark.parametrize("variables", [{}, {"XDG_DATA_HOME": "/srv/data", "XDG_CONFIG_HOME": "/srv/config"}])
@pytest.mark.parametrize("relative", [False, True])
def test_the_platforms_folders_are_those_that_platformdirs_names(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], relative: bool
) -> None:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name)
        if name in variables:
            monkeypatch.setenv(name, variables[name].lstrip("/") if relative else variables[name])
    assert located({}).place.folder == platformdirs.user_data_dir("backscroll", appauthor=False)


def test_a_config_that_cannot_be_read_is_noted_and_costs_no_payload(own_folders: Path) -> None:
    config = own_folders / ".config" / "backscroll" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('db = "unfinished\n')
    assert capture(claude("Stop")).returncode == 0
    data = own_folders / ".local" / "share" / "backscroll"
    assert len(kept(data)) == 1
    assert failures(data) == ["config.toml cannot be read"]


_LINES = st.sampled_from(
    [
        'db = "/srv/talk.db"', "db='/srv/talk.db' # there", 'user = "ada"', 'user = "a\\"b"', "user = 'a\\b'",
        'exclude_sources = "codex, gemini"', 'sync = "all"', "store_media = true", "busy_timeout_s = 2.5",
        "", "  ", '"db" = "quoted"', "[table]", 'db = """\nmany\n"""', "db = 5", 'user = "unfinished', 'user = "a" "b"',
        "user.name = 'x'", 'project = "shed # 5"', 'project = "a = b"', "list = [", "]", 'user = "\tx"', "user =",
        "db = ''", "# db = 'no'",
    ]
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_LINES, max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_a_config_is_read_as_a_parser_reads_it(own_folders: Path, lines: list[str], newline: str) -> None:
    config = own_folders / ".config" / "backscroll" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(newline.join(lines), newline="")
    try:
        told = tomllib.loads(config.read_text())
    except tomllib.TOMLDecodeError:
        # What no program of ours starts with.
        return
    texts = {name: value for name, value in told.items() if isinstance(value, str)}
    said = located({})
    expected = spool.Place(texts.get("db") or None, texts.get("user", "local"), str(default_database().parent))
    assert (said.place.folder, said.place.address) == (expected.folder, expected.address)
    assert said.excluded_sources == {one for one in texts.get("exclude_sources", "").split(", ") if one}
    assert said.problems == []


def test_arguments_that_it_does_not_know_cost_no_payload(folder: Path) -> None:
    done = capture(
        claude("Stop"), "--verbose", "--color=never", "stray", "--inject", "everything", "--db", str(folder / "talk.db")
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(kept(folder)) == 1


# Speed


def test_it_imports_next_to_nothing() -> None:
    program = "import sys\nfrom backscroll.__main__ import main\nsys.argv[1:] = ['capture']\nmain()"
    imported = _imported_by(program) - _imported_by("pass")
    heavy = {"json", "typing", "pathlib", "re", "asyncio", "contextlib", "tomllib", "platformdirs", "click", "pydantic"}
    assert imported & heavy == set()
    assert {name for name in imported if name.startswith("backscroll")} == {
        "backscroll", "backscroll.__main__", "backscroll.addresses", "backscroll.capture",
        "backscroll.capture.locating", "backscroll.capture.stdin", "backscroll.hooks",
        "backscroll.hooks.glance", "backscroll.hooks.hosts", "backscroll.spool",
    }  # fmt: skip


def _imported_by(program: str) -> set[str]:
    command = [sys.executable, "-X", "importtime", "-c", program]
    done = subprocess.run(command, input=b"{}", env=environment(), capture_output=True, timeout=60, check=True)
    return set(re.findall(r"\|\s+([\w.]+)$", done.stderr.decode(), re.MULTILINE))
