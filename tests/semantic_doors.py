"""A memory that is searched by meaning, and ways to look at its vectors."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from backscroll import Backscroll
from backscroll.config import Settings
from backscroll.semantic import Semantic
from backscroll.tokens import TokenCounter
from builders import user

ON = Settings(semantic="auto")

TALK = [
    user("The mechanic repaired the engine of my old car."),
    user("We had pasta with tomatoes for dinner."),
    user("The tests of the payment service fail on Windows."),
    user("My daughter learns to play the violin."),
]


@pytest.fixture
async def app_with_vectors(url: str, tokens: TokenCounter) -> AsyncIterator[Backscroll]:
    """A module that says `app = app_with_vectors` has its `memory` searched by meaning."""
    async with Backscroll(url, ON) as opened:
        yield opened


def semantic_of(app: Backscroll) -> Semantic:
    assert app.semantic is not None
    return app.semantic


async def nearest(
    app: Backscroll,
    database: Path,
    question: str,
    *,
    user_id: str = "ada",
    limit: int = 3,
    sessions: list[int] | None = None,
) -> list[str]:
    """The texts of the nearest messages, nearest first."""
    semantic = semantic_of(app)
    vector = await semantic.question(question)
    assert vector is not None
    near = await semantic.nearest(user_id, vector, limit=limit, sessions=sessions)
    assert near == sorted(near, key=lambda one: -one.cosine)
    with closing(sqlite3.connect(database)) as db:
        return [
            db.execute("SELECT text FROM messages WHERE message_key = ?", (one.message_key,)).fetchone()[0]
            for one in near
        ]


def stored(database: Path) -> dict[str, bytes]:
    """The vectors in the file, by the text of their messages."""
    with closing(sqlite3.connect(database)) as db:
        return dict(db.execute("SELECT text, vector FROM vectors JOIN messages USING (message_key)"))


def all_vectors(database: Path) -> list[bytes]:
    with closing(sqlite3.connect(database)) as db:
        return [vector for (vector,) in db.execute("SELECT vector FROM vectors")]


def session_keys(database: Path) -> dict[str, int]:
    with closing(sqlite3.connect(database)) as db:
        return {name: key for key, name in db.execute("SELECT session_key, session_id FROM sessions")}


def altered(database: Path, statement: str) -> None:
    """What some later feature may do to a row: vectors must not depend on who does it."""
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute(statement)
        db.commit()
