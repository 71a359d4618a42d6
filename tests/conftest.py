"""What every test stands on: folders of its own, one clock zone, an open store and a memory on it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import settings

import backscroll
from backscroll.store import Store
from backscroll.store.opening import open_store
from backscroll.tokens import TokenCounter, counter
from hunting import examples
from postgres_server import PostgresServer, postgres_server

# The plain run tries the same examples each time, so that it fails only where something changed. To go
# hunting for new ones: HYPOTHESIS_PROFILE=hunt uv run pytest
settings.register_profile("fixed", derandomize=True, database=None, deadline=None, max_examples=examples(100))
settings.register_profile("hunt", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

STORES = ("sqlite", "postgres")
"""Every implementation of Store."""

ON_BOTH = ("store_contract", "isolation", "mcp_isolation", "tenancy_model")
"""What the plain run tries on each store: the contract, and the walls between users. CI runs all on Postgres too."""

CHOSEN_STORES = tuple(filter(None, os.environ.get("BACKSCROLL_TEST_STORES", "").split(",")))
"""`BACKSCROLL_TEST_STORES=postgres uv run pytest -m 'not slow'` runs every test that takes a `url` on that store, and
what is about Postgres alone, which the plain run leaves out."""


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True, scope="session")
def utc() -> Iterator[None]:
    """Times are shown in the zone of the machine; here every machine is in one zone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes what belongs to the person at this machine."""
    home = tmp_path / "home"
    home.mkdir()
    for name in [name for name in os.environ if name.startswith(("BACKSCROLL_", "XDG_", "CLAUDE_"))]:
        monkeypatch.delenv(name)
    # Vectors come when they come: what a search finds must not hang on that, save where it is the subject.
    monkeypatch.setenv("BACKSCROLL_SEMANTIC", "off")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    for name, folder in (
        ("CONFIG", ".config"),
        ("DATA", ".local/share"),
        ("CACHE", ".cache"),
        ("STATE", ".local/state"),
    ):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / folder))
    return home


@pytest.fixture(scope="session")
def tokens() -> TokenCounter:
    """The exact counter: loading it takes a tenth of a second or two, so once for all tests."""
    counter.load()
    return counter


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A Postgres of this test process, started when it is first wanted."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def kept_postgres_url(postgres: PostgresServer) -> str:
    """A database that tests use one after another."""
    return postgres.new_database()


@pytest.fixture
def postgres_url(postgres: PostgresServer, kept_postgres_url: str) -> str:
    """An empty Postgres database. For a second one ask `postgres.new_database()`."""
    postgres.emptied(kept_postgres_url)
    return kept_postgres_url


@pytest.fixture(scope="session")
def kept_partitioned_url(postgres: PostgresServer) -> str:
    """The same with its tables in parts by user."""
    return postgres.partitioned_database(parts=4)


@pytest.fixture
def partitioned_url(postgres: PostgresServer, kept_partitioned_url: str) -> str:
    postgres.emptied(kept_partitioned_url)
    return kept_partitioned_url


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whoever asks for `url` runs once with each store; whoever looks into the file behind it, with SQLite alone."""
    if "url" in metafunc.fixturenames:
        looks_into_file = "database" in metafunc.fixturenames
        name = metafunc.module.__name__.removeprefix("test_")
        stores = CHOSEN_STORES or (STORES if name.startswith(ON_BOTH) else STORES[:1])
        metafunc.parametrize("url", stores[:1] if looks_into_file else stores, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where stores are chosen, only what can run on them is."""
    if not CHOSEN_STORES:
        return
    kept = [item for item in items if item.get_closest_marker("postgres") or _runs_there(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
    items[:] = kept


def _runs_there(item: pytest.Item) -> bool:
    """Whether it takes a store, and does not look into a file that such a store has not."""
    names: Sequence[str] = getattr(item, "fixturenames", ())
    return "url" in names and ("database" not in names or CHOSEN_STORES[0] == "sqlite")


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param in ("postgres", "partitioned"):
        return str(request.getfixturevalue(f"{request.param}_url"))
    return f"sqlite:///{tmp_path}/sessions.db"


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The file behind `url`. What asks for it is about that file."""
    if "url" in request.fixturenames and request.node.callspec.params["url"] != "sqlite":
        pytest.skip("about the file of a SQLite database")
    return tmp_path / "sessions.db"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await open_store(url)
    yield opened
    await opened.close()


@pytest.fixture
async def app(url: str, tokens: TokenCounter) -> AsyncIterator[backscroll.Backscroll]:
    async with backscroll.Backscroll(url) as opened:
        yield opened


@pytest.fixture
def memory(app: backscroll.Backscroll) -> backscroll.Memory:
    return app.memory("ada", source="api")


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    """A loop for property tests, which are plain functions: `loop.run(...)` runs one example's coroutine."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def kept_memory(url: str, loop: asyncio.Runner, tokens: TokenCounter) -> Iterator[backscroll.Memory]:
    """A memory on `loop`, open for all examples of a property test: each takes sessions of its own."""
    stack = AsyncExitStack()
    app = loop.run(stack.enter_async_context(backscroll.Backscroll(url)))
    yield app.memory("ada", source="api")
    loop.run(stack.aclose())
