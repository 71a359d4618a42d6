"""Sessions by the thousand, made up, in which words are as common and as rare as in real ones.

Half of what is said are the commonest English words. The rest are made-up words whose frequencies follow
Zipf-Mandelbrot over 200,000 types, with English endings, so that a stemmer has work. Each session is about
a few topics and in one project: it comes back to their rarer words, identifiers, paths and people, which is
what a search can find it by. Prose and the lines of tool results are put together from fragments drawn
beforehand, for speed; topic words, rare words, digests and numbers are drawn for each message.

The same seed gives the same sessions, each by its number alone.
"""

import json
import math
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate, chain, islice
from typing import NamedTuple

from backscroll.models import NewMessage, NewRun, NewToolCall

from .english import PER_MILLION

TYPES = 200_000
"""Of made-up words."""
EXPONENT, SHIFT = 1.07, 2.7
"""Zipf-Mandelbrot: the word of rank r is as common as (r + SHIFT) ** -EXPONENT."""
RARER = 1_500
"""Topics take their words from this rank on."""

TOPICS, TOPIC_WORDS = 3_000, 60
PROJECTS, PROJECT_TOPICS, PROJECT_NAMES, PROJECT_LINES = 40, 80, 600, 2_500
FRAGMENTS = 120_000
PEOPLE = slice(4_000, 4_600)
"""The words that people are called by, two each."""

USER_BYTES, OTHER_BYTES, LONGEST_BYTES = 120, 600, 10_000
LONG_RESULTS = 0.03
SHORTEST, LONGEST = 10, 400
"""Messages of a session, or a few more: a run is not cut."""

BEGIN, DAYS = datetime(2024, 10, 1, tzinfo=UTC), 730
GOLDEN = 0.618033988749895
"""Steps of this share spread sessions evenly over the time, in no order: an import goes by files, not by time."""

SOURCES = ("api", "claude_code", "codex", "cursor")
AGENTS = ("main", "planner", "reviewer", "tester")
MODELS = ("large-3", "large-4", "small-4")
TOOLS = ("bash", "edit_file", "grep", "list_files", "read_file", "run_tests", "web_search", "write_file")

_ENDINGS = (("", 1.0), ("s", 2.2), ("ed", 4.0), ("ing", 5.0))
_ONSETS = (
    "b", "bl", "br", "c", "ch", "cl", "cr", "d", "dr", "f", "fl", "fr", "g", "gl", "gr", "h", "j", "k", "l", "m",
    "n", "p", "pl", "pr", "qu", "r", "s", "sc", "sh", "sk", "sl", "sp", "st", "str", "t", "th", "tr", "v", "w",
)  # fmt: skip
_NUCLEI = (
    "a", "e", "i", "o", "u", "a", "e", "i", "o", "u", "ai", "ea", "ee", "oo", "ou",
)  # fmt: skip
_CODAS = (
    "", "", "", "b", "ck", "d", "g", "l", "ll", "m", "n", "nd", "ng", "nt", "p", "r", "rd", "rn", "rt", "sh", "st",
    "t", "th", "x",
)  # fmt: skip
_SUFFIXES = (".py", ".ts", ".go", ".rs", ".md", ".toml", ".sql", ".tsx")
_FOLDERS = ("src", "lib", "tests", "docs", "server", "web/components", "internal", "scripts")
_ERRORS = (
    "TypeError", "KeyError", "ValueError", "ConnectionRefusedError", "TimeoutError", "AssertionError",
    "ModuleNotFoundError", "PermissionError", "ENOENT", "SIGSEGV", "OperationalError", "UnicodeDecodeError",
)  # fmt: skip


class Project(NamedTuple):
    name: str
    topics: Sequence[int]
    identifiers: Sequence[str]
    paths: Sequence[str]
    lines: Sequence[str]


class Conversation(NamedTuple):
    number: int
    runs: Sequence[NewRun]

    @property
    def messages(self) -> int:
        return sum(len(run.messages) for run in self.runs)


class Corpus:
    def __init__(self, seed: int = 1) -> None:
        self._seed = seed
        rng = random.Random(f"words {seed}")
        self.words = _words(rng)
        first = len(PER_MILLION)
        self._weights = list(accumulate((rank + SHIFT) ** -EXPONENT for rank in range(first, first + TYPES)))
        self._people = [
            f"{a.capitalize()} {b.capitalize()}" for a, b in zip(*[iter(self.words[PEOPLE])] * 2, strict=True)
        ]
        self._topics = [rng.sample(range(RARER, TYPES), TOPIC_WORDS) for _ in range(TOPICS)]
        self._topic_weights = [(rank + SHIFT) ** -EXPONENT for rank in range(TOPIC_WORDS)]
        self._fragments = self._drawn_fragments(rng)
        self._projects = [self._project(random.Random(f"project {seed} {number}")) for number in range(PROJECTS)]

    def conversations(self, messages: int) -> Iterator[Conversation]:
        """As many as hold that many messages, or a run more."""
        number = 0
        while messages > 0:
            conversation = self.conversation(number)
            if conversation.messages > messages:
                conversation = _cut(conversation, messages)
            yield conversation
            messages -= conversation.messages
            number += 1

    def conversation(self, number: int) -> Conversation:
        rng = random.Random(f"session {self._seed} {number}")
        # A few projects have most of the sessions.
        project = self._projects[min(int(rng.expovariate(0.12)), PROJECTS - 1)]
        source, agent, model = rng.choice(SOURCES), rng.choice(AGENTS), rng.choice(MODELS)
        telling = _Telling(rng, self, project)
        left = round(math.exp(rng.uniform(math.log(SHORTEST), math.log(LONGEST))))
        moment = BEGIN + timedelta(days=DAYS * (number * GOLDEN % 1))
        runs: list[NewRun] = []
        while left > 0:
            calls = min(int(rng.expovariate(0.4)), 12, max(0, (left - 2) // 2))
            messages = telling.run(calls, moment)
            runs.append(
                NewRun(
                    messages=messages,
                    session_id=f"s{self._seed}-{number}",
                    run_id=f"s{self._seed}-{number}-{len(runs)}",
                    agent=agent,
                    model=model,
                    project=project.name,
                    source=source,
                    started_at=moment,
                )
            )
            left -= len(messages)
            moment += timedelta(seconds=30 * len(messages) + rng.expovariate(1 / 600))
        return Conversation(number, tuple(runs))

    def drawn(self, rng: random.Random, count: int) -> list[str]:
        """Made-up words as they come, rare ones rarely."""
        return rng.choices(self.words, cum_weights=self._weights, k=count)

    def told_about(self, rng: random.Random, project: Project) -> tuple[list[str], list[float]]:
        """What a session comes back to, and the weights: words of three topics, names of its project, people."""
        topics = rng.sample(project.topics, 3)
        said = [self.words[rank] for rank in chain.from_iterable(self._topics[topic] for topic in topics)]
        weights = self._topic_weights * len(topics)
        names = rng.sample(project.identifiers, 25) + rng.sample(project.paths, 10) + rng.sample(self._people, 3)
        share = sum(weights) * 0.25 / len(names)
        return said + names, list(accumulate(weights + [share] * len(names)))

    @property
    def fragments(self) -> Sequence[str]:
        return self._fragments

    def _drawn_fragments(self, rng: random.Random) -> list[str]:
        """Four to nine words in a row, English and made up as they come; some end a sentence."""
        english = rng.choices(list(PER_MILLION), list(PER_MILLION.values()), k=FRAGMENTS * 9)
        made_up = self.drawn(rng, FRAGMENTS * 7)
        share = sum(PER_MILLION.values()) / 1_000_000
        mixed = (a if rng.random() < share else b for a, b in zip(english, made_up, strict=True))
        ends = rng.choices((" ", ", ", ". "), (80, 8, 12), k=FRAGMENTS * 3)
        fragments = []
        for end in ends[:FRAGMENTS]:
            words = list(islice(mixed, rng.randint(4, 9)))
            fragments.append((" ".join(words) + end).rstrip())
        return fragments

    def _project(self, rng: random.Random) -> Project:
        stems = self.drawn(rng, PROJECT_NAMES * 3)
        pairs = zip(stems[::3], stems[1::3], stems[2::3], strict=True)
        identifiers = [_identifier(rng, *parts) for parts in pairs]
        paths = [
            f"{rng.choice(_FOLDERS)}/{rng.choice(stems)}/{rng.choice(stems)}{rng.choice(_SUFFIXES)}" for _ in range(200)
        ]
        lines = [self._line(rng, identifiers, paths, stems) for _ in range(PROJECT_LINES)]
        name = "/".join(("work", *self.drawn(rng, 1))) + f"-{rng.randrange(100)}"
        return Project(name, rng.sample(range(TOPICS), PROJECT_TOPICS), identifiers, paths, lines)

    def _line(self, rng: random.Random, names: Sequence[str], paths: Sequence[str], stems: Sequence[str]) -> str:
        name, other, path, stem = rng.choice(names), rng.choice(names), rng.choice(paths), rng.choice(stems)
        match rng.randrange(10):
            case 0:
                return f"    def {name}(self, {stem}: str) -> {other}:"
            case 1:
                return f"    {stem} = {name}({other}, {rng.randrange(100)})"
            case 2:
                return f"import {{ {name} }} from './{path}';"
            case 3:
                return f"{path}:{rng.randrange(900)}:    return self.{name}.{other}({stem})"
            case 4:
                return f'  File "{path}", line {rng.randrange(900)}, in {name}'
            case 5:
                return f"{rng.choice(_ERRORS)}: {rng.choice(self._fragments)} '{other}'"
            case 6:
                return f"{rng.randrange(9)}.{rng.randrange(30)}.{rng.randrange(20)}  {stem}-{rng.choice(stems)}"
            case 7:
                return f"        # {rng.choice(self._fragments)} {stem}"
            case 8:
                return f"PASSED {path}::test_{stem}_{rng.choice(stems)} [{rng.randrange(100)}%]"
            case _:
                return f"INFO {stem}: {rng.choice(self._fragments)} --{stem}={rng.randrange(4096)}"


class _Telling:
    """One session's words."""

    def __init__(self, rng: random.Random, corpus: Corpus, project: Project) -> None:
        self._rng = rng
        self._corpus = corpus
        self._project = project
        self._about, self._weights = corpus.told_about(rng, project)

    def run(self, calls: int, moment: datetime) -> tuple[NewMessage, ...]:
        """A question, so many tool calls with their results, an answer."""
        messages = [NewMessage(role="user", text=self._prose(USER_BYTES), created_at=moment)]
        for number in range(calls):
            tool = self._rng.choice(TOOLS)
            failed = self._rng.random() < 0.08
            call_id = f"call_{number}"
            call = NewToolCall(tool_call_id=call_id, tool_name=tool, arguments=self._arguments(tool))
            at = moment + timedelta(seconds=20 * number + 5)
            messages += (
                NewMessage(role="assistant", text=self._prose(OTHER_BYTES), tool_calls=(call,), created_at=at),
                NewMessage(role="tool", text=self._result(), tool_call_id=call_id, is_error=failed, created_at=at),
            )
        at = moment + timedelta(seconds=20 * calls + 10)
        messages.append(NewMessage(role="assistant", text=self._prose(OTHER_BYTES), created_at=at))
        return tuple(messages)

    def _prose(self, median: int) -> str:
        """Fragments, each followed by something that the session is about; a word as rare as may be at the end."""
        rng = self._rng
        count = max(1, round(self._bytes(median) / 50))
        said = rng.choices(self._corpus.fragments, k=count)
        about = rng.choices(self._about, cum_weights=self._weights, k=count)
        return " ".join((*chain.from_iterable(zip(said, about, strict=True)), *self._corpus.drawn(rng, 2)))

    def _result(self) -> str:
        rng = self._rng
        size = LONGEST_BYTES if rng.random() < LONG_RESULTS else self._bytes(OTHER_BYTES)
        lines = rng.choices(self._project.lines, k=max(1, round(size / 62)))
        about = " ".join(rng.choices(self._about, cum_weights=self._weights, k=4))
        lines[rng.randrange(len(lines))] = f"{rng.getrandbits(160):040x} {about} {rng.randrange(10**6)}"
        return "\n".join(lines)

    def _arguments(self, tool: str) -> str:
        rng = self._rng
        path, name = rng.choice(self._project.paths), rng.choice(self._about)
        if tool in ("bash", "run_tests"):
            return json.dumps({"command": f"cd {path} && make {name} --jobs={rng.randrange(16)}"})
        if tool in ("grep", "web_search"):
            return json.dumps({"pattern": name, "path": path})
        return json.dumps({"path": path, "offset": rng.randrange(2_000)})

    def _bytes(self, median: int) -> float:
        return min(self._rng.lognormvariate(math.log(median), 0.9), LONGEST_BYTES)


def _words(rng: random.Random) -> list[str]:
    """By rank, the commonest first: stems with their endings, each ending rarer than the stem itself."""
    stems: dict[str, None] = {}
    while len(stems) * len(_ENDINGS) < TYPES * 1.02:
        syllables = 1 if len(stems) < 400 else 2
        parts = [rng.choice(_ONSETS) + rng.choice(_NUCLEI) for _ in range(syllables)]
        stems.setdefault("".join(parts) + rng.choice(_CODAS))
    ranked: dict[str, float] = {}
    for rank, stem in enumerate(stems, start=1):
        for ending, rarer in _ENDINGS:
            ranked.setdefault(stem + ending, rank * rarer)
    made_up = [word for word in sorted(ranked, key=ranked.__getitem__) if word not in PER_MILLION]
    return made_up[:TYPES]


def _identifier(rng: random.Random, one: str, two: str, three: str) -> str:
    match rng.randrange(4):
        case 0:
            return one + two.capitalize() + three.capitalize()
        case 1:
            return f"{one}_{two}_{three}"
        case 2:
            return f"{one}_{two}"
        case _:
            return one.capitalize() + two.capitalize()


def _cut(conversation: Conversation, messages: int) -> Conversation:
    """Its first runs, as many as begin before so many messages."""
    runs: list[NewRun] = []
    for run in conversation.runs:
        if messages <= 0:
            break
        runs.append(run)
        messages -= len(run.messages)
    return Conversation(conversation.number, tuple(runs))
