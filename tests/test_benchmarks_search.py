"""The benchmark of searching in coding sessions: its scores, its plain contender, its questions and their lines."""

import json
from collections import Counter
from pathlib import Path

import pytest
from benchmarks.code_search import KINDS, SAMPLES, counterpart, load, main, rank_of, read_questions, score
from benchmarks.plain_bm25 import PlainBM25
from benchmarks.sample_transcripts import Said, Transcript, transcripts

from backscroll import Backscroll, Memory
from builders import assistant, call, result, user

needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample transcripts are not beside the repository")

DOCUMENTS = [
    ("crab", "the crab was not found OR lost"),
    ("café", "a café by the harbour, and the café of the crab"),
    ("ship", "the ship sailed"),
]


# Scores


def test_the_rank_is_that_of_the_first_right_line() -> None:
    assert rank_of(["#1.1", "#1.2", "#1.3"], {"#1.3", "#1.2"}) == 2
    assert rank_of(["#1.1"], {"#1.2"}) is None


def test_a_score_counts_each_question_once_and_what_was_missed_as_nothing() -> None:
    assert score([1, 2, 10, None]) == (0.25, 0.5, 0.75, (1 + 0.5 + 0.1) / 4)


# Plain BM25


def test_plain_bm25_finds_any_word_and_puts_the_best_first() -> None:
    with PlainBM25(DOCUMENTS) as plain:
        assert plain.search("crab CAFE", 10) == ["café", "crab"]
        assert plain.search("crab cafe", 1) == ["café"]


@pytest.mark.parametrize("query", ['NOT lost"', "text: lost*", "(lost NEAR/2", "'lost' OR"])
def test_no_character_of_a_query_is_an_operator_to_plain_bm25(query: str) -> None:
    with PlainBM25(DOCUMENTS) as plain:
        assert plain.search(query, 10) == ["crab"]


def test_plain_bm25_finds_nothing_without_words() -> None:
    with PlainBM25(DOCUMENTS) as plain:
        assert plain.search(' "* ', 10) == []


# Questions


def test_there_are_enough_questions_of_every_kind_and_none_twice() -> None:
    questions = read_questions()
    assert len({question.text.casefold() for question in questions}) == len(questions) >= 70
    assert min(Counter(question.kind for question in questions)[kind] for kind in KINDS) >= 8
    assert all(question.right for question in questions)


@pytest.mark.parametrize(
    "line", [{"question": "?", "kind": "file", "right": ["b"]}, {"question": "?", "kind": "song", "right": ["a"]}]
)
def test_a_question_about_an_unknown_fact_or_of_an_unknown_kind_is_refused(tmp_path: Path, line: object) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps({"fact": "a", "lines": ["x.jsonl:1"]}) + "\n" + json.dumps(line))
    with pytest.raises(ValueError, match=r"unknown facts|none of"):
        read_questions(path)


# Lines and stored messages


def test_a_run_begins_with_what_a_user_said() -> None:
    chat = [user("one"), assistant("yes"), user("two"), assistant(None, call()), result()]
    transcript = Transcript("codex", "s", Path("x"), said=[Said(f"x:{n}", message) for n, message in enumerate(chat)])
    assert list(transcript.runs()) == [chat[:2], chat[2:]]


async def test_a_line_is_found_by_its_call_and_by_its_text_nearest_in_time(memory: Memory) -> None:
    chat = [
        user("again?", created_at="2026-11-20T10:00:00Z"),
        assistant("again?", call("c1"), created_at="2026-11-20T10:00:01Z"),
        result("c1", "again?", created_at="2026-11-20T10:00:02Z"),
        user("<reminder/> again?", created_at="2026-11-20T11:00:00Z"),
        assistant("Done.", created_at="2026-11-20T11:00:01Z"),
    ]
    receipt = await memory.record_run(chat)
    stored = await memory.get_messages_for_session(receipt.session_id)

    def seq_of(line: dict[str, object]) -> int | None:
        found = counterpart(line, stored)
        return found.seq if found else None

    assert [seq_of(line) for line in chat] == [1, 2, 3, 4, 5]
    assert seq_of(user("again?", created_at="2026-11-20T10:59:00Z")) == 4
    assert seq_of(assistant("<x>Done.</x>")) == 5
    assert seq_of(user("never said")) is None


@needs_samples
async def test_every_line_that_a_question_asks_for_is_recorded(app: Backscroll) -> None:
    loaded = await load(app, SAMPLES)
    assert {place for question in read_questions() for place in question.right} <= loaded.refs.keys()
    assert set(loaded.refs.values()) == set(loaded.messages)


@needs_samples
def test_places_of_the_samples_are_unique() -> None:
    # Claude Code writes a block to a line, and its lines are the only ones that could be told twice.
    places = Counter(said.place for transcript in transcripts(SAMPLES) for said in transcript.said)
    assert [place for place, count in places.items() if count > 1] == []


def test_the_command_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["code_search", str(tmp_path / "none")])
    with pytest.raises(SystemExit, match="no samples at"):
        main()
    monkeypatch.setattr("sys.argv", ["code_search", str(tmp_path)])
    with pytest.raises(SystemExit, match="no message was recorded for"):
        main()
