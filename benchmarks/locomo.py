"""`python -m benchmarks.locomo PATH`: questions about months of talk, ours beside plain BM25.

`--postgres URL` asks the same of both stores, one after the other.

PATH is a LoCoMo-shaped file or a folder of them: `session_N`, a list of turns {speaker, dia_id, text}, at
`session_N_date_time`, and `qa`, a list of {question, evidence, category}. Each conversation is recorded in a file of
its own through `record_run`, with its real dates, the speakers by name, and the caption of a shared picture as part of
the turn. Then every question is asked through `search_session_history`, all arguments at their defaults.

A turn counts as found where its handle is among the first k lines; sessions are ranked by their first line. `all@10`
asks for every piece of evidence, of the questions that have several. Category 5 is a trap for those who answer, but
its evidence exists, so it counts.

Plain BM25, then ours without vectors and with: the weights as shipped, and the same learned anew on the other
conversations of PATH, so that nothing is measured on what it was tuned on. Those that are shipped were learned on the
conversations named in ranking/weights.py: of these the row says so, and is not to be quoted.
"""

import argparse
import asyncio
import json
import re
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.table import Table

from backscroll import Backscroll, Memory, Settings
from backscroll.ranking import weights as shipped
from backscroll.render import page_text
from backscroll.tokens import counter

# Run by its path too: `uv run benchmarks/locomo.py`.
sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.plain_bm25 import PlainBM25

if TYPE_CHECKING:
    from benchmarks.learning import Example

USER = "bench"
CATEGORIES = {1: "several hops", 2: "time", 3: "inference", 4: "one hop", 5: "adversarial"}
_DIALOGUE_ID = re.compile(r"D\d+:\d+")
_BETWEEN_TURNS = timedelta(seconds=30)


class Question(NamedTuple):
    text: str
    category: int
    evidence: frozenset[str]


class Turn(NamedTuple):
    turn_id: str
    session_id: str
    speaker: str
    text: str
    said_at: datetime


@dataclass(frozen=True)
class Conversation:
    name: str
    digest: str
    first_speaker: str
    turns: tuple[Turn, ...]
    questions: tuple[Question, ...]


class Ranks(NamedTuple):
    """Of one question: the ranks of its evidence among the lines, and of its sessions among the sessions."""

    category: int
    turns: tuple[int | None, ...]
    sessions: tuple[int | None, ...]
    tokens: int
    seconds: float


@dataclass
class Loaded:
    """A conversation in a store of its own. `ids` has the turn of each handle."""

    conversation: Conversation
    app: Backscroll
    user: str = USER
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def memory(self) -> Memory:
        return self.app.memory(self.user)


def read_conversations(path: Path) -> list[Conversation]:
    """Raises ValueError for a folder without conversations."""
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    found = [_conversation(file) for file in files]
    if not found:
        raise ValueError(f"{path} holds no .json file.")
    return found


def _conversation(file: Path) -> Conversation:
    content = file.read_bytes()
    told = json.loads(content)
    if isinstance(told.get("conversation"), dict):
        told = {**told, **told["conversation"]}
    turns = tuple(_turns(told))
    known = {turn.turn_id for turn in turns}
    questions = []
    for one in told["qa"]:
        # Some pieces of evidence hold several ids, some none that exist.
        evidence = frozenset(found for piece in one.get("evidence") or () for found in _DIALOGUE_ID.findall(str(piece)))
        if evidence & known:
            questions.append(Question(str(one["question"]), int(one["category"]), evidence & known))
    return Conversation(file.stem, sha256(content).hexdigest()[:12], str(told["speaker_a"]), turns, tuple(questions))


def _turns(told: dict[str, Any]) -> Iterator[Turn]:
    numbers = sorted(int(name.split("_")[1]) for name in told if re.fullmatch(r"session_\d+", name))
    for number in numbers:
        at = datetime.strptime(told[f"session_{number}_date_time"], "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
        for place, turn in enumerate(told[f"session_{number}"]):
            caption = turn.get("blip_caption")
            text = f"{turn['text']} [image: {caption}]" if caption else turn["text"]
            said_at = at + place * _BETWEEN_TURNS
            yield Turn(turn["dia_id"], f"session_{number}", turn["speaker"], text, said_at)


async def record(loaded: Loaded) -> None:
    by_session: dict[str, list[Turn]] = defaultdict(list)
    for turn in loaded.conversation.turns:
        by_session[turn.session_id].append(turn)
    for session_id, turns in by_session.items():
        messages = [
            {
                "role": "user" if turn.speaker == loaded.conversation.first_speaker else "assistant",
                "name": turn.speaker,
                "content": turn.text,
                "created_at": turn.said_at,
            }
            for turn in turns
        ]
        await loaded.memory.record_run(messages, session_id=session_id)
        stored = await loaded.memory.get_messages_for_session(session_id)
        loaded.ids.update((message.ref, turn.turn_id) for message, turn in zip(stored, turns, strict=True))
    if loaded.app.semantic is not None:
        await loaded.app.semantic.catch_up()


async def ask(loaded: Loaded) -> list[Ranks]:
    sessions = {turn.turn_id: turn.session_id for turn in loaded.conversation.turns}
    found = []
    for question in loaded.conversation.questions:
        began = time.perf_counter()
        page = await loaded.memory.search_session_history(question.text)
        seconds = time.perf_counter() - began
        long = await loaded.memory.search_session_history(question.text, limit=100, max_tokens=20_000)
        lines = [loaded.ids[hit.ref] for hit in page.hits or ()][:10]
        in_order = [sessions[loaded.ids[hit.ref]] for hit in long.hits or ()]
        tokens = counter.count(page_text(page))
        found.append(_ranks(question, lines, in_order, sessions, tokens, seconds))
    return found


def ask_plain(conversation: Conversation) -> list[Ranks]:
    """The same of plain BM25 over the same texts, the speaker's name before each."""
    sessions = {turn.turn_id: turn.session_id for turn in conversation.turns}
    with PlainBM25((turn.turn_id, f"{turn.speaker}: {turn.text}") for turn in conversation.turns) as plain:
        found = []
        for question in conversation.questions:
            began = time.perf_counter()
            lines = plain.search(question.text, 100)
            seconds = time.perf_counter() - began
            in_order = [sessions[line] for line in lines]
            found.append(_ranks(question, lines[:10], in_order, sessions, 0, seconds))
        return found


def _ranks(
    question: Question,
    lines: Sequence[str],
    in_order: Sequence[str],
    sessions: dict[str, str],
    tokens: int,
    seconds: float,
) -> Ranks:
    distinct = list(dict.fromkeys(in_order))
    wanted = sorted(question.evidence)
    return Ranks(
        question.category,
        tuple(_rank(lines, one) for one in wanted),
        tuple(_rank(distinct, one) for one in sorted({sessions[turn] for turn in wanted})),
        tokens,
        seconds,
    )


def _rank(found: Sequence[str], wanted: str) -> int | None:
    return found.index(wanted) + 1 if wanted in found else None


@contextmanager
def weighed(lexical: dict[str, float], semantic: dict[str, float]) -> Iterator[None]:
    """The product's search with these weights in place of those that it ships."""
    kept = dict(shipped.LEXICAL_WEIGHTS), dict(shipped.SEMANTIC_WEIGHTS)
    try:
        shipped.LEXICAL_WEIGHTS.update(lexical)
        shipped.SEMANTIC_WEIGHTS.update(semantic)
        yield
    finally:
        shipped.LEXICAL_WEIGHTS.update(kept[0])
        shipped.SEMANTIC_WEIGHTS.update(kept[1])


async def cross_validated(all_loaded: Sequence[Loaded]) -> list[Ranks]:
    """Each conversation asked with weights that the others taught. Raises ImportError without the group `bench`."""
    from benchmarks.learning import learned

    taught = [await lessons(loaded) for loaded in all_loaded]
    found: list[Ranks] = []
    for place, loaded in enumerate(all_loaded):
        weights = learned([one for other, some in enumerate(taught) if other != place for one in some])
        with_vectors = loaded.app.semantic is not None
        with weighed({} if with_vectors else weights, weights if with_vectors else {}):
            found += await ask(loaded)
    return found


async def lessons(loaded: Loaded) -> "list[Example]":
    from benchmarks.learning import examples_of

    refs = {turn_id: ref for ref, turn_id in loaded.ids.items()}
    asked = [(question.text, {refs[turn] for turn in question.evidence}) for question in loaded.conversation.questions]
    return await examples_of(loaded.memory, asked)


def scores(ranks: Sequence[Ranks]) -> list[str]:
    def share(of: Sequence[bool]) -> str:
        return f"{100 * statistics.mean(of):.1f}" if of else "-"

    def within(found: tuple[int | None, ...], most: int) -> bool:
        return any(rank is not None and rank <= most for rank in found)

    several = [one for one in ranks if len(one.turns) > 1]
    best = [min((rank for rank in one.turns if rank), default=None) for one in ranks]
    return [
        str(len(ranks)),
        *(share([within(one.turns, most) for one in ranks]) for most in (1, 5, 10)),
        share([all(one.turns) for one in several]),
        f"{statistics.mean(1 / rank if rank else 0.0 for rank in best):.3f}",
        *(share([within(one.sessions, most) for one in ranks]) for most in (1, 5, 10)),
    ]


def as_table(title: str, ranks: Sequence[Ranks]) -> Table:
    columns = ("of category", "questions", "R@1", "R@5", "R@10", "all@10", "MRR")
    table = Table(*columns, "session R@1", "R@5", "R@10", title=title, title_justify="left")
    for category, name in CATEGORIES.items():
        chosen = [one for one in ranks if one.category == category]
        if chosen:
            table.add_row(name, *scores(chosen))
    table.add_section()
    table.add_row("all", *scores(ranks))
    return table


def costs(ranks: Sequence[Ranks]) -> str:
    milliseconds = [1000 * one.seconds for one in ranks]
    p95 = statistics.quantiles(milliseconds, n=20)[-1]
    tokens = statistics.mean(one.tokens for one in ranks)
    return f"{tokens:.0f} tokens an answer; p50 {statistics.median(milliseconds):.1f} ms, p95 {p95:.1f} ms"


async def measure(path: Path, folder: Path, console: Console, *, semantic: str, postgres: str | None = None) -> None:
    """The rows of ours, with vectors or without. Raises ValueError for a path without conversations.

    Each conversation is in a file of its own, or all are in one database on Postgres, each a user's.
    """
    conversations = read_conversations(path)
    opened: list[Loaded] = []
    try:
        for conversation in conversations:
            file = str(folder / f"{semantic}-{conversation.name}.db")
            app = Backscroll(postgres or file, Settings(semantic=semantic))
            opened.append(Loaded(conversation, await app.__aenter__(), f"{USER}-{semantic}-{conversation.name}"))
            await record(opened[-1])
        if semantic == "auto" and opened[0].app.semantic is None:
            console.print("Without vectors only: the extra `semantic` is not installed.")
            return
        vectors = ("on Postgres, " if postgres else "") + ("without vectors" if semantic == "off" else "with vectors")
        known = {conversation.digest for conversation in conversations} & set(shipped.LEARNED_ON)
        told = f" ({len(known)} of these conversations taught them: not to be quoted)" if known else ""
        ranks = [one for loaded in opened for one in await ask(loaded)]
        console.print(as_table(f"ours {vectors}, weights as shipped{told}", ranks), costs(ranks))
        if len(opened) > 1 and find_spec("scipy") is not None:
            console.print(as_table(f"ours {vectors}, cross-validated", await cross_validated(opened)))
        else:
            console.print("Not cross-validated: that takes two conversations, and scipy (uv run --group bench ...).")
    finally:
        for loaded in opened:
            await loaded.app.__aexit__(None, None, None)


def measure_plain(path: Path, console: Console) -> None:
    """The row of plain BM25. Raises ValueError for a path without conversations."""
    conversations = read_conversations(path)
    turns = sum(len(conversation.turns) for conversation in conversations)
    console.print(f"{len(conversations)} conversations, {turns:,} turns")
    ranks = [one for conversation in conversations for one in ask_plain(conversation)]
    console.print(as_table("plain BM25", ranks))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.locomo", description="Ask about months of talk.")
    parser.add_argument("path", type=Path, help="a LoCoMo-shaped .json file, or a folder of them")
    parser.add_argument(
        "--semantic", choices=("off", "auto"), help="only without vectors, or only with; both by default"
    )
    parser.add_argument("--postgres", metavar="URL", help="the same beside it in an empty Postgres database")
    asked = parser.parse_args()
    console = Console()
    counter.load()
    with tempfile.TemporaryDirectory(prefix="backscroll-bench-") as folder:
        try:
            measure_plain(asked.path, console)
            for semantic in (asked.semantic,) if asked.semantic else ("off", "auto"):
                for postgres in dict.fromkeys((None, asked.postgres)):
                    asyncio.run(measure(asked.path, Path(folder), console, semantic=semantic, postgres=postgres))
        except (OSError, ValueError, KeyError) as error:
            sys.exit(f"Cannot read conversations from {asked.path}: {error}")


if __name__ == "__main__":
    main()
