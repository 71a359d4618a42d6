"""The benchmark at scale: how its words are spread, what its questions are about, and that its command runs."""

import asyncio
import re
import sqlite3
import statistics
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from benchmarks import search_scale
from benchmarks.contenders import backscroll_at
from benchmarks.corpus import LONGEST, SHORTEST, Corpus
from benchmarks.english import PER_MILLION
from benchmarks.large_file import load
from benchmarks.plain_query import plain_search
from benchmarks.scale_questions import Asking

from backscroll.models import NewMessage

MESSAGES = 1_000


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus()


@pytest.fixture(scope="module")
def messages(corpus: Corpus) -> list[NewMessage]:
    told = corpus.conversations(20 * MESSAGES)
    return [message for conversation in told for run in conversation.runs for message in run.messages]


@pytest.fixture(scope="module")
def file(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scale") / "scale.db"
    asyncio.run(load(path, corpus, MESSAGES, lambda _: None))
    return path


@pytest.fixture
def db(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file)) as opened:
        yield opened


# Words


def test_a_conversation_is_the_same_whenever_it_is_asked_for(corpus: Corpus) -> None:
    in_turn = [*corpus.conversations(MESSAGES)]
    assert corpus.conversation(3) == in_turn[3] == Corpus().conversation(3)
    assert corpus.conversation(3) != corpus.conversation(4)


def test_there_are_as_many_messages_as_were_wanted_and_at_most_a_run_more(corpus: Corpus) -> None:
    for wanted in (1, 10, MESSAGES):
        runs = [run for conversation in corpus.conversations(wanted) for run in conversation.runs]
        assert wanted <= sum(len(run.messages) for run in runs) < wanted + len(runs[-1].messages)


def test_sessions_and_messages_have_the_sizes_of_real_ones(corpus: Corpus, messages: list[NewMessage]) -> None:
    sizes = [corpus.conversation(number).messages for number in range(60)]
    assert min(sizes) >= SHORTEST
    assert max(sizes) < LONGEST + 30
    chars: dict[str, list[int]] = {}
    for message in messages:
        chars.setdefault(message.role, []).append(len(message.text))
    assert 90 < statistics.median(chars["user"]) < 180
    assert all(450 < statistics.median(chars[role]) < 900 for role in ("assistant", "tool"))
    assert max(chars["tool"]) > 8_000


def test_few_words_are_half_of_what_is_said_and_most_words_are_rare(messages: list[NewMessage]) -> None:
    said = [message.text.lower() for message in messages if message.role != "tool"]
    words = Counter(word for text in said for word in re.findall(r"[a-z]+", text))
    commonest = [word for word, _ in words.most_common(20)]
    assert set(commonest) <= PER_MILLION.keys()
    by_rank = [count for _, count in words.most_common()]
    assert 0.3 < sum(by_rank[:200]) / sum(by_rank) < 0.6
    assert sum(count <= 5 for count in by_rank) > len(by_rank) / 3
    assert len(by_rank) > 40_000


def test_a_session_comes_back_to_words_that_others_do_not_say(corpus: Corpus) -> None:
    said = []
    for number in range(40):
        texts = (message.text for run in corpus.conversation(number).runs for message in run.messages)
        said.append(Counter(re.findall(r"[a-z]{4,}", " ".join(texts).lower())))
    in_sessions = Counter(word for words in said for word in words)
    longest = max(said, key=lambda words: words.total())
    assert any(count >= 10 and in_sessions[word] == 1 for word, count in longest.items())


# Questions


async def test_what_is_loaded_is_what_was_made(corpus: Corpus, file: Path) -> None:
    conversation = corpus.conversation(2)
    async with backscroll_at(file) as memory:
        stored = await memory.get_messages_for_session(conversation.runs[0].session_id or "")
    assert [one.text for one in stored] == [one.text for run in conversation.runs for one in run.messages]


async def test_a_question_is_made_of_its_lines_own_words_and_its_filters_let_that_line_through(
    db: sqlite3.Connection, file: Path
) -> None:
    questions = Asking(db).questions(5)
    assert set(Counter(question.kind for question in questions).values()) == {5}
    async with backscroll_at(file) as memory:
        for question in questions:
            if question.right is None:
                continue
            session, _, seq = question.right.partition(".")
            message = await memory.get_message(session, int(seq))
            holder = await memory.get_session(session)
            stems = {word[:3] for word in re.findall(r"\w+", question.query.lower())}
            assert stems & {word[:3] for word in re.findall(r"\w+", message.text.lower())}
            allowed = {
                "session_id": holder.session_id,
                "project": holder.project,
                "role": message.role,
                "tool_name": message.tool_name,
            }
            assert all(allowed[name] == value for name, value in question.filters.items() if name in allowed)
            if "since" in question.filters:
                since, until = (datetime.fromisoformat(question.filters[name]) for name in ("since", "until"))
                assert since <= message.created_at < until


def test_the_same_file_is_asked_the_same_and_another_seed_asks_other_things(db: sqlite3.Connection) -> None:
    assert Asking(db).questions(3) == Asking(db).questions(3) != Asking(db, seed=2).questions(3)


def test_plain_bm25_finds_lines_and_keeps_to_the_filters(db: sqlite3.Connection) -> None:
    questions = [question for question in Asking(db).questions(8) if question.right is not None]
    found = [plain_search(db, question.query, question.filters, 10) for question in questions]
    hits = sum(question.message_key in keys for question, keys in zip(questions, found, strict=True))
    assert hits > len(questions) / 2
    for question, keys in zip(questions, found, strict=True):
        if "role" in question.filters:
            roles = db.execute(f"SELECT role FROM messages WHERE message_key IN ({', '.join(map(str, keys))})")
            assert {role for (role,) in roles} == {question.filters["role"]}


# The command


@pytest.mark.slow
def test_the_command_tells_its_figures_and_uses_a_kept_file_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--messages", "500", "--questions", "2", "--plain", "1", "--commits", "20", "--rounds", "3"]
    monkeypatch.setattr("sys.argv", ["search_scale", *few, "--keep", str(tmp_path / "kept.db")])
    search_scale.main()
    first = capsys.readouterr().out
    size = (tmp_path / "kept.db").stat().st_size
    search_scale.main()
    second = capsys.readouterr().out
    assert "load 5" in first
    assert "load 5" not in second
    assert "kept.db" in second
    for told in (first, second):
        assert all(kind in told for kind in ("natural", "keywords", "phrase", "in a session", "with a target"))
        assert all(figure in told for figure in ("nothing in memory", "plain BM25", "Recording", "none over 50 ms"))
    assert (tmp_path / "kept.db").stat().st_size == size
