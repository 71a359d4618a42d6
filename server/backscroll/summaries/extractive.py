"""A summary without a model: the session's own words, quoted, each with the handle of its message.

    Earlier: ...                     the summary before, where an agent or a model had made it
    Asked (#3.1): "..."              the first request; stays for good
    Then (#3.9): "..."               a later request
    Decided (#3.12): "..."           what reads like a decision
    Result (#3.20): "..."            what reads like a result
    Said (#3.31): "..."              how a run ended, or what holds most of the topics
    Fixed (#3.14, #3.18): ...        a call that failed and later went well
    Failed (#3.40): ...              a call of the last run that failed and did not
    Last asked (#3.43): "..."
    Last answer (#3.44): "..."
    Tools: bash 12 (3 failed), edit 4. Files: app.py, tests/test_app.py.

An update reads the lines of the summary before it, which this module wrote, and goes on from there. The same
messages always give the same summary.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby, zip_longest
from typing import Literal, NamedTuple, cast

from ..models import Message, Summary
from ..tokens import estimate, upper_bound
from .calls import Call, calls_of, failures, files_of
from .draft import EXTRACTIVE, SummaryDraft
from .sentences import (
    around,
    clip,
    decision_score,
    facts,
    gist,
    is_chatter,
    is_telling,
    opening,
    prose,
    result_score,
    sentences,
)
from .topics import topics_of

MAX_TOKENS = 280
"""The bound of a summary, by `tokens.estimate`; in prose with handles o200k counts up to a tenth more.

An `Earlier` line comes on top: a summary by an agent or a model is worth more than what room it takes.
"""

MAX_MESSAGES = 2_000
"""Of more, the talk is read only so far from either end: the rest would hardly be quoted."""

Label = Literal["Earlier", "Asked", "Then", "Decided", "Result", "Said", "Fixed", "Failed", "Last asked", "Last answer"]

_ALWAYS: tuple[Label, ...] = ("Earlier", "Asked", "Last asked", "Last answer")
# One line of each kind is taken by turns, newest first, as long as they fit; at most so many of a kind.
_BY_TURNS: tuple[tuple[Label, int], ...] = (
    ("Decided", 4),
    ("Result", 4),
    ("Then", 3),
    ("Fixed", 2),
    ("Said", 4),
    ("Failed", 1),
)
# What a line of the summary before is worth against new ones: decisions stay, the rest moves on.
_KEPT_SCORES: dict[str, float] = {"Decided": 3.5, "Result": 2.0, "Said": 1.5}

_LINE = re.compile(
    r"(Earlier|Asked|Then|Decided|Result|Said|Fixed|Failed|Last asked|Last answer)"
    r"(?: \((#\d+\.(\d+)[^)]*)\))?: (.+)"
)
_FOOTER = re.compile(r"(?:Tools: (.*?)\.)?(?: ?Files: (.*)\.)?")
_TOOL = re.compile(r"(\S+) (\d+)(?: \((\d+) failed\))?")
_FOOTER_TOKENS = 60
_MAX_NAMED = 5
_MAX_NAME_CHARS = 60
_EARLIER_CHARS = 800
_ASKED_CHARS = 200
_THEN_CHARS = 120


class Line(NamedTuple):
    """One line of a summary; `seq` orders it, `score` says what it is worth among its kind."""

    label: Label
    seq: int
    ref: str
    text: str
    score: float = 0.0

    def __str__(self) -> str:
        return f"{self.label} ({self.ref}): {self.text}" if self.ref else f"{self.label}: {self.text}"


def extract(messages: Sequence[Message], *, previous: Summary | None = None) -> SummaryDraft:
    """An extractive draft of `messages` (in order of `seq`) and of the summary before them."""
    spoken = [message for message in messages if message.role != "system" and not message.from_history]
    calls = calls_of(spoken)
    before, tools, failed, files = _read(previous)
    for call in calls:
        tools[_name(call.tool_name)] += 1
        failed[_name(call.tool_name)] += call.failed is True
    for path, count in files_of(spoken).items():
        files[_path(path)] += count

    talk = [message for message in spoken if message.role != "tool" and message.text.strip()]
    if len(talk) > 2 * MAX_MESSAGES:
        talk = [*talk[:MAX_MESSAGES], *talk[-MAX_MESSAGES:]]
    topics = topics_of(
        (prose(message.text) for message in talk),
        (path.rsplit("/", 1)[-1] for path, _ in _most(files, 3)),
        previous.topics if previous is not None else (),
    )
    fresh = [*_requests(talk, begun=bool(before)), *_findings(talk), *_errors(calls, spoken)]
    if sum(line.label in ("Decided", "Result") for line in [*before, *fresh]) < 2:
        fresh += _telling(talk, topics)
    kept = _first_of_each([*_last(talk), *before, *fresh])
    footer = _footer(tools, failed, files)
    taken = sum(estimate(f"{line}\n") for line in kept if line.label != "Earlier")
    room = MAX_TOKENS - taken - estimate(footer)
    lines = sorted([*kept, *_chosen([*before, *fresh], kept, room)], key=_place)
    text = "\n".join([*map(str, lines), *([footer] if footer else [])])
    return SummaryDraft(summary=text or _bare(messages), topics=topics, made_by=EXTRACTIVE)


def _read(previous: Summary | None) -> tuple[list[Line], Counter[str], Counter[str], Counter[str]]:
    """Lines, tools, failures and files of the summary before; text by another hand is one `Earlier` line."""
    lines: list[Line] = []
    tools: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    files: Counter[str] = Counter()
    if previous is not None and previous.made_by != EXTRACTIVE:
        earlier = clip(previous.summary, _EARLIER_CHARS)
        lines += [Line("Earlier", 0, "", earlier)] if earlier else []
    elif previous is not None:
        for text in previous.summary.splitlines():
            if line := _LINE.fullmatch(text):
                label, ref, seq, quote = line.groups()
                lines += _still(Line(cast("Label", label), int(seq or 0), ref or "", quote))
            elif footer := _FOOTER.fullmatch(text):
                for name, count, failures_ in _TOOL.findall(footer[1] or ""):
                    tools[name] += int(count)
                    failed[name] += int(failures_ or 0)
                files.update(path for path in (footer[2] or "").split(", ") if path)
    return lines, tools, failed, files


def _still(line: Line) -> list[Line]:
    """What a line of the summary before is now. The last exchange is the last no more, but may stay."""
    label, quote = line.label, line.text.strip('"')
    if label == "Failed":
        return []
    if label == "Last asked":
        if any(decision_score(sentence, by_user=True) for sentence in sentences(quote)):
            label = "Decided"
        elif _is_request(quote):
            label = "Then"
        else:
            return []
    elif label == "Last answer":
        label = "Result" if any(map(result_score, sentences(quote))) else "Said"
    return [line._replace(label=label, score=_KEPT_SCORES.get(label, 1.0))]


def _requests(talk: Sequence[Message], *, begun: bool) -> list[Line]:
    """What users asked for: the session's first is `Asked`, later ones `Then` when more than a nod."""
    lines: list[Line] = []
    for message in talk:
        if message.role != "user":
            continue
        if not (begun or lines):
            text = opening(message.text, _ASKED_CHARS)
            lines += [Line("Asked", message.seq, message.ref, _quoted(text, _ASKED_CHARS))] if text else []
            continue
        text = opening(message.text, _THEN_CHARS)
        if _is_request(text):
            score = 1.0 + 0.3 * facts(text) + 0.3 * ("?" in text)
            lines.append(Line("Then", message.seq, message.ref, _quoted(text), score))
    return lines


def _is_request(text: str) -> bool:
    return upper_bound(text) >= 12 and not is_chatter(text)


def _findings(talk: Sequence[Message]) -> list[Line]:
    """Decisions of either side, results of the agent's, and how its runs ended where it told facts."""
    endings = {
        next((message.ref for message in reversed(list(run)) if message.role == "assistant"), None)
        for _, run in groupby(talk, key=lambda message: message.run_id)
    }
    lines: list[Line] = []
    for message in talk:
        told = sentences(message.text)
        by_user = message.role == "user"
        decided = _best([decision_score(sentence, by_user=by_user) for sentence in told])
        if decided is not None:
            score = decision_score(told[decided], by_user=by_user)
            lines.append(Line("Decided", message.seq, message.ref, _quoted(around(told, decided)), score))
        if by_user:
            continue
        ends_run = message.ref in endings
        result = _best([0.0 if at == decided else result_score(told[at]) for at in range(len(told))])
        if result is not None:
            score = result_score(told[result]) + ends_run
            lines.append(Line("Result", message.seq, message.ref, _quoted(around(told, result)), score))
        elif ends_run and decided is None and (known := facts(ended := gist(message.text))):
            lines.append(Line("Said", message.seq, message.ref, _quoted(ended), 0.5 * known))
    return lines


def _best(scores: Sequence[float]) -> int | None:
    """Where the highest score stands, the first of equals; None where all are 0."""
    at = max(range(len(scores)), key=scores.__getitem__, default=None)
    return at if at is not None and scores[at] else None


def _telling(talk: Sequence[Message], topics: Sequence[str]) -> list[Line]:
    """For talk that decides and makes nothing: from each third of it, what holds most of the topics."""
    keys = [topic.casefold() for topic in topics]
    best: dict[int, Line] = {}
    for at, message in enumerate(talk):
        for sentence in sentences(message.text):
            score = sum(key in sentence.casefold() for key in keys) + 0.3 * facts(sentence)
            if score < 1 or not is_telling(sentence):
                continue
            third = at * 3 // len(talk)
            if third not in best or score > best[third].score:
                best[third] = Line("Said", message.seq, message.ref, _quoted(sentence), score)
    return list(best.values())


def _errors(calls: Sequence[Call], spoken: Sequence[Message]) -> list[Line]:
    """Errors that were overcome, and those of the last run that were not."""
    last_run = {message.ref for message in spoken if message.run_id == spoken[-1].run_id}
    lines: list[Line] = []
    for call, solved_ref in failures(calls):
        subject = f" `{clip(call.subject, 50)}`" if call.subject else ""
        told = f"{_name(call.tool_name)}{subject}{f': {_quoted(call.error)}' if call.error else ''}"
        if solved_ref:
            lines.append(Line("Fixed", call.seq, f"{call.ref}, {solved_ref}", told))
        elif call.ref in last_run:
            lines.append(Line("Failed", call.seq, call.ref, told))
    return lines


def _last(talk: Sequence[Message]) -> list[Line]:
    """The last exchange: the last request and, where one came, the last answer to it."""
    lines: list[Line] = []
    for message in reversed(talk):
        if message.role == "user" and (text := opening(message.text, _THEN_CHARS)):
            return [*lines, Line("Last asked", message.seq, message.ref, _quoted(text))]
        if message.role == "assistant" and not lines and (text := gist(message.text)):
            lines.append(Line("Last answer", message.seq, message.ref, _quoted(text)))
    return lines


def _first_of_each(lines: Iterable[Line]) -> list[Line]:
    found: dict[Label, Line] = {}
    for line in lines:
        # In a session's only exchange the first request is the last one too.
        if line.label in _ALWAYS:
            found.setdefault(line.label, line)
    asked, last = found.get("Asked"), found.get("Last asked")
    if asked is not None and last is not None and asked.seq == last.seq:
        del found["Last asked"]
    return list(found.values())


def _chosen(lines: Sequence[Line], kept: Sequence[Line], room: int) -> list[Line]:
    """The lines worth their tokens: of each kind the best, by turns as long as they fit."""
    kinds: list[list[Line]] = []
    for label, most in _BY_TURNS:
        best = sorted((line for line in lines if line.label == label), key=lambda line: (-line.score, -line.seq))
        kinds.append(sorted(best[:most], key=lambda line: -line.seq))
    chosen: list[Line] = []
    for row in zip_longest(*kinds):
        for line in row:
            if line is None or any(_repeats(line, other) for other in (*kept, *chosen)):
                continue
            tokens = estimate(f"{line}\n")
            if tokens <= room:
                chosen.append(line)
                room -= tokens
    return chosen


def _repeats(line: Line, other: Line) -> bool:
    """Whether two lines quote the same words, be it in part."""
    one, two = line.text.strip('"…'), other.text.strip('"…')
    # The same beginning will do: one of them may have been cut.
    return one[:50] in two or two[:50] in one


def _place(line: Line) -> tuple[int, int, str]:
    """Beginning first, the last exchange last, all else as it happened."""
    rank = {"Earlier": 0, "Asked": 1, "Last asked": 3, "Last answer": 3}.get(line.label, 2)
    return rank, line.seq, line.label


def _footer(tools: Counter[str], failed: Counter[str], files: Counter[str]) -> str:
    """The most used tools and files, as many as a fixed share of the room takes."""
    for most in range(_MAX_NAMED, 0, -1):
        used = [
            f"{name} {count}{f' ({failed[name]} failed)' if failed[name] else ''}" for name, count in _most(tools, most)
        ]
        paths = [path for path, _ in _most(files, most)]
        parts = [f"Tools: {', '.join(used)}." if used else "", f"Files: {', '.join(paths)}." if paths else ""]
        text = " ".join(filter(None, parts))
        if estimate(text) <= _FOOTER_TOKENS:
            return text
    return ""


def _most(counts: Counter[str], most: int) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]


def _path(path: str) -> str:
    """A path as the footer shows it: of a long absolute one the last three parts."""
    parts = path.strip().split("/")
    return _name("…/" + "/".join(parts[-3:]) if len(parts) > 4 and not parts[0] else path)


def _name(text: str) -> str:
    """A tool's name or a path as one short word, so that the footer can be read back."""
    word = re.sub(r"[\s,]+", "_", text.strip()) or "unnamed"
    return word if len(word) <= _MAX_NAME_CHARS else f"…{word[1 - _MAX_NAME_CHARS :]}"


def _quoted(text: str, max_chars: int | None = None) -> str:
    return f'"{clip(text, max_chars) if max_chars else clip(text)}"'


def _bare(messages: Sequence[Message]) -> str:
    """What is left to say where nothing was said in words."""
    media = sum(len(message.media) for message in messages)
    return f"{len(messages):,} messages without text{f', {media:,} media' if media else ''}."
