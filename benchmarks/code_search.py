"""`python -m benchmarks.code_search [SAMPLES]`: questions about coding sessions, ours beside plain BM25.

All transcripts of the samples go into one throw-away database of one user: Claude Code's by our importer,
the others by small readers. Then every question of `code_questions.jsonl` is asked through
`search_session_history`, and of plain BM25 over the same messages: text, tool names, arguments.

No line of the samples is copied: the questions say in other words, or by the names and fragments that one
remembers, what they are after. A fact is a set of places (see `sample_transcripts`) that tell the same; a
question names the facts that answer it, and any line of them is right.

How far to trust it: the samples are the work of real programs, but of a scripted model. Their hundred messages
tell some forty facts, most of them several times over, and hardly an error, a file or a decision in the full
sense. So many facts have several questions: as a sentence, as keywords, as an identifier written another way,
misspelt. Ten hits show a good part of all there is, so R@1 and MRR tell more than R@10; and a figure says how
a search treats a kind of question, not how it fares with a year of work.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from backscroll import Backscroll, Memory, Settings
from backscroll.importing import import_paths
from backscroll.models import Message
from backscroll.render import page_text
from backscroll.tokens import counter

# Run by its path too: `uv run benchmarks/code_search.py`.
sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.plain_bm25 import PlainBM25
from benchmarks.sample_transcripts import CLAUDE_CODE, Transcript, transcripts

SAMPLES = Path(__file__).parents[2] / "shared" / "samples"
QUESTIONS = Path(__file__).with_name("code_questions.jsonl")
KINDS = ("command", "error", "file", "decision", "identifier")
LIMIT = 10
MAX_TOKENS = 20_000
"""More than ten hits take: what is measured is the order, not the budget."""
TIMED_ROUNDS = 5
USER = "bench"


class Question(NamedTuple):
    """`right` are the places of all lines that answer it."""

    text: str
    kind: str
    right: frozenset[str]


class Answer(NamedTuple):
    """What a search gave for a question: refs of messages, best first. `tokens` of the answer as a model reads it."""

    found: tuple[str, ...]
    tokens: int
    seconds: tuple[float, ...]


class Score(NamedTuple):
    """Means over questions, from 0 to 1. Nothing beyond the first ten counts."""

    at_1: float
    at_5: float
    at_10: float
    reciprocal_rank: float


def read_questions(path: Path = QUESTIONS) -> list[Question]:
    """Raises ValueError for a fact that nothing tells or a kind that is not ours."""
    facts: dict[str, list[str]] = {}
    found: list[Question] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        if "fact" in told:
            facts[told["fact"]] = told["lines"]
            continue
        if unknown := [fact for fact in told["right"] if fact not in facts]:
            raise ValueError(f"{told['question']!r} is answered by unknown facts: {', '.join(unknown)}")
        if told["kind"] not in KINDS:
            raise ValueError(f"{told['question']!r} has the kind {told['kind']!r}, which is none of {', '.join(KINDS)}")
        right = frozenset(place for fact in told["right"] for place in facts[fact])
        found.append(Question(told["question"], told["kind"], right))
    return found


def rank_of(found: Sequence[str], right: Iterable[str]) -> int | None:
    """The place of the first right one, from 1; None where none was found."""
    wanted = set(right)
    return next((rank for rank, ref in enumerate(found, 1) if ref in wanted), None)


def score(ranks: Sequence[int | None]) -> Score:
    """At least one rank."""

    def within(most: int) -> float:
        return sum(rank is not None and rank <= most for rank in ranks) / len(ranks)

    return Score(within(1), within(5), within(10), sum(1 / rank for rank in ranks if rank) / len(ranks))


def counterpart(message: Mapping[str, Any], stored: Sequence[Message]) -> Message | None:
    """The stored message of a session that holds what a line says: one may hold several lines.

    A call or a result is known by the call's id. Text is known by itself, where it was said more than
    once by its time, and where the importer took away what the host put around it, by what was left.
    """
    calls = {call["id"] for call in message.get("tool_calls", ())} | {message.get("tool_call_id")} - {None}
    for one in stored:
        held = {one.tool_call_id} if one.role == "tool" else {call.tool_call_id for call in one.tool_calls}
        if one.role == message["role"] and held & calls:
            return one
    text = message["content"].strip()
    same = [one for one in stored if one.role == message["role"] and one.text.strip()]
    holding = [one for one in same if text and text in one.text] or [one for one in same if one.text.strip() in text]
    return min(holding, key=lambda one: _apart(one, message.get("created_at")), default=None)


def _apart(message: Message, at: Any) -> float:
    match at:
        case str():
            at = datetime.fromisoformat(at).timestamp()
        case datetime():
            at = at.timestamp()
    return abs(message.created_at.timestamp() - at) if at is not None else 0.0


class Loaded(NamedTuple):
    """What the database holds: each message once, by ref, and the ref of each place."""

    messages: dict[str, Message]
    refs: dict[str, str]


async def load(app: Backscroll, folder: Path) -> Loaded:
    """Record every transcript of the samples. Raises ValueError where our importer cannot read one."""
    found = list(transcripts(folder))
    imported = sorted({transcript.path for transcript in found if transcript.source == CLAUDE_CODE})
    report = await import_paths(app.memory(USER), imported)
    if report.failed:
        raise ValueError("; ".join(f"{file}, line {line}: {error}" for file, line, error in report.failed))
    for transcript in found:
        if transcript.source != CLAUDE_CODE:
            await _record(app.memory(USER, source=transcript.source), transcript)
    memory = app.memory(USER)
    messages: dict[str, Message] = {}
    refs: dict[str, str] = {}
    for transcript in found:
        stored = await memory.get_messages_for_session(transcript.session_id)
        messages.update((message.ref, message) for message in stored)
        for said in transcript.said:
            if (message := counterpart(said.message, stored)) is not None:
                refs[said.place] = message.ref
    return Loaded(messages, refs)


async def _record(memory: Memory, transcript: Transcript) -> None:
    for number, run in enumerate(transcript.runs()):
        await memory.record_run(
            run,
            session_id=transcript.session_id,
            run_id=f"{transcript.session_id}/{number}",
            project=transcript.project,
            started_at=run[0].get("created_at"),
        )


async def ask_ours(memory: Memory, questions: Sequence[Question]) -> list[Answer]:
    answers = []
    for question in questions:
        page = await memory.search_session_history(question.text, limit=LIMIT, max_tokens=MAX_TOKENS)
        seconds = []
        for _ in range(TIMED_ROUNDS):
            started = time.perf_counter()
            await memory.search_session_history(question.text, limit=LIMIT, max_tokens=MAX_TOKENS)
            seconds.append(time.perf_counter() - started)
        answers.append(
            Answer(tuple(hit.ref for hit in page.hits or ()), counter.count(page_text(page)), tuple(seconds))
        )
    return answers


def ask_plain(messages: Mapping[str, Message], questions: Sequence[Question]) -> list[Answer]:
    """Refs alone: what it finds is neither fetched nor shown, so its time and tokens are not compared."""
    with PlainBM25((ref, searched_text(message)) for ref, message in messages.items()) as plain:
        return [Answer(tuple(plain.search(question.text, LIMIT)), 0, ()) for question in questions]


def searched_text(message: Message) -> str:
    calls = (f"{call.tool_name} {call.arguments_text}" for call in message.tool_calls)
    return "\n".join([message.text, *calls])


def as_table(questions: Sequence[Question], rights: Sequence[set[str]], named: Mapping[str, Sequence[Answer]]) -> Table:
    """A row for each kind and search, then one for all kinds."""
    table = Table("kind", "questions", "search", "R@1", "R@5", "R@10", "MRR")
    for kind in (*KINDS, "all"):
        chosen = [i for i, question in enumerate(questions) if kind in (question.kind, "all")]
        if not chosen:
            continue
        for name, answers in named.items():
            scored = score([rank_of(answers[i].found, rights[i]) for i in chosen])
            shown = [f"{100 * share:.1f}" for share in scored[:3]]
            table.add_row(kind, str(len(chosen)), name, *shown, f"{scored.reciprocal_rank:.3f}")
        table.add_section()
    return table


def costs(answers: Sequence[Answer]) -> str:
    """What an answer takes: tokens on average, and milliseconds at the median and the 95th percentile."""
    milliseconds = [1000 * seconds for answer in answers for seconds in answer.seconds]
    p95 = statistics.quantiles(milliseconds, n=20)[-1]
    tokens = statistics.mean(answer.tokens for answer in answers)
    return f"{tokens:.0f} tokens an answer; p50 {statistics.median(milliseconds):.2f} ms, p95 {p95:.2f} ms"


def missed(questions: Sequence[Question], rights: Sequence[set[str]], answers: Sequence[Answer], loaded: Loaded) -> str:
    """Each question whose right lines are not among the first five, and what came instead."""
    lines = []
    for question, right, answer in zip(questions, rights, answers, strict=True):
        rank = rank_of(answer.found, right)
        if rank is not None and rank <= 5:
            continue
        lines += ["", f"{question.kind}: {question.text}", f"  right, at rank {rank}: {', '.join(sorted(right))}"]
        lines += [f"  {ref} {_shown(loaded.messages[ref])}" for ref in answer.found[:5]] or ["  nothing was found"]
    return "\n".join(lines)


def _shown(message: Message) -> str:
    return f"{message.role}: {' '.join(searched_text(message).split())[:100]}"


async def measure(folder: Path, database: Path, *, console: Console, misses: bool) -> None:
    """Raises ValueError where the samples do not hold what the questions are about."""
    questions = read_questions()
    counter.load()
    async with Backscroll(str(database), Settings(semantic="off")) as app:
        loaded = await load(app, folder)
        if absent := sorted({place for question in questions for place in question.right} - loaded.refs.keys()):
            raise ValueError(f"no message was recorded for {len(absent)} lines that questions ask for: {absent[:5]}")
        rights = [{loaded.refs[place] for place in question.right} for question in questions]
        ours = await ask_ours(app.memory(USER), questions)
    plain = ask_plain(loaded.messages, questions)
    facts = len({question.right for question in questions})
    console.print(f"{len(loaded.messages)} messages; {len(questions)} questions with {facts} different answers")
    console.print(as_table(questions, rights, {"ours": ours, "plain BM25": plain}))
    console.print(f"ours: {costs(ours)}")
    if misses:
        console.print("\nOurs, not among the first five:")
        console.print(Text(missed(questions, rights, ours, loaded)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.code_search", description="Ask about coding sessions.")
    parser.add_argument(
        "samples",
        nargs="?",
        type=Path,
        default=SAMPLES,
        help="their folder; default: ../shared/samples, from the repository",
    )
    parser.add_argument("--misses", action="store_true", help="show what came instead of the right lines")
    asked = parser.parse_args()
    if not asked.samples.is_dir():
        sys.exit(f"There are no samples at {asked.samples}. Give the folder that holds claude_code, codex and others.")
    with tempfile.TemporaryDirectory(prefix="backscroll-bench-") as place:
        try:
            asyncio.run(measure(asked.samples, Path(place) / "code.db", console=Console(), misses=asked.misses))
        except ValueError as error:
            sys.exit(f"The samples at {asked.samples} are not those that the questions are about: {error}")


if __name__ == "__main__":
    main()
