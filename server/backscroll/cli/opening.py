"""Which store a command works on, and whose sessions: the options that every command takes."""

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from ..addresses import is_server
from ..addresses import shown as without_secrets
from ..config import Settings, load_settings
from ..errors import SessionNotFound
from ..memory import Backscroll, Memory
from ..render import behind_line
from ..sources import OFF
from ..store.opening import sqlite_path
from ..syncing import attached
from ..terminal import notes, put_json, safe

T = TypeVar("T")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


@dataclass(slots=True)
class Chosen:
    """What the command line says of the store. Settings are read when a command needs them, not before."""

    flags: dict[str, str] = field(default_factory=dict)

    def settings(self) -> Settings:
        """Raises ConfigError."""
        return load_settings(self.flags)

    @asynccontextmanager
    async def app(self, *, create: bool = False) -> AsyncIterator[Backscroll]:
        """The open store. What only reads does not make a file where there is none: it reads an empty store.

        Raises ConfigError, StoreUnusable, StoreBusy, InvalidArgument.
        """
        settings = self.settings()
        database = database_of(settings)
        if create or database.exists():
            async with Backscroll(settings=settings) as app:
                yield app
            return
        notes().print(f"There is no database at {safe(database.name)} yet.")
        with tempfile.TemporaryDirectory(prefix="backscroll-") as folder:
            empty = settings.model_copy(update={"sync": OFF})
            async with Backscroll(str(Path(folder) / "empty.db"), empty) as app:
                yield app

    @asynccontextmanager
    async def memory(self, *, create: bool = False) -> AsyncIterator[Memory]:
        async with self.app(create=create) as app:
            yield app.memory(app.settings.user, source="api")

    def with_reading(self, work: Callable[[Memory], Awaitable[dict[str, Any] | None]]) -> None:
        """Run what reads, and print the document that it returns, if any.

        Where sync is on, what hosts wrote a moment ago is read first, and what is not read yet is told.
        """

        async def reading() -> None:
            async with self.app() as app, attached(app, background=False):
                memory = app.memory(app.settings.user, source="api")
                behind = await memory.catch_up()
                document = await work(memory)
            if document is not None:
                put_json(document if behind is None else {**document, "behind": behind.model_dump(mode="json")})
            if behind is not None:
                notes().print(behind_line(behind, "backscroll sync reads them now"), style="dim")

        asyncio.run(reading())

    def with_memory(self, work: Callable[[Memory], Awaitable[T]], *, create: bool = False) -> T:
        """Run `work` on the chosen user's memory."""

        async def opened() -> T:
            async with self.memory(create=create) as memory:
                return await work(memory)

        return asyncio.run(opened())


_NUMBER = re.compile(r"\d+(\.\d+)?")


async def session_ref(memory: Memory, typed: str) -> str:
    """A session or message as typed at a prompt, where # begins a comment: `12.48` is taken for `#12.48`.

    A session whose own id is that number goes first. Raises SessionNotFound only when it is asked for.
    """
    if not _NUMBER.fullmatch(typed):
        return typed
    try:
        await memory.get_session(typed)
    except SessionNotFound:
        return f"#{typed}"
    return typed


class ChosenDatabase(NamedTuple):
    """`name` is as it may be shown; `file` is None where the database is a server's."""

    name: str
    file: Path | None

    def exists(self) -> bool:
        """Whether there is anything to open: of a server only opening it tells, and it makes no database."""
        return self.file is None or self.file.exists()


def database_of(settings: Settings) -> ChosenDatabase:
    """Raises InvalidArgument for an address of another kind."""
    url = settings.database_url()
    if is_server(url):
        return ChosenDatabase(without_secrets(url), None)
    path = sqlite_path(url)
    return ChosenDatabase(str(path), path)


def _keep(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None and param.name is not None:
        ctx.find_root().ensure_object(Chosen).flags[param.name] = value


def store_options(command: Decorated) -> Decorated:
    """`--db` and `--user`, before a command's name or after it; the nearer one counts."""
    for option in (
        click.option("--user", metavar="NAME", expose_value=False, callback=_keep, help="Whose sessions."),
        click.option("--db", metavar="PATH", expose_value=False, callback=_keep, help="The database, as path or URL."),
    ):
        command = option(command)
    return command


chosen = click.make_pass_decorator(Chosen, ensure=True)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document, complete.")
