"""Sentences of what was said, word for word, and what they seem to be: a decision, a result, chatter.

Only white space and the marks of lists and headings go; code, tables and what hosts wrap into a message
are no prose and are left out. Cues are English; other languages are quoted by place and topic alone.
"""

import re
from collections.abc import Iterator, Sequence

from ..tokens import upper_bound

SCAN_CHARS = 6_000
"""Only so much from each end of a text is read: the middle of a long paste says little about a session."""

MAX_QUOTE_CHARS = 150
MIN_SCORE = 1.0
"""A sentence below it is neither a decision nor a result."""

# `<system-reminder>...</system-reminder>` and the like: hosts' names have a - or _, people's markup has none.
_WRAPPER = re.compile(r"<([a-zA-Z]+[-_][\w-]{0,60})(?:\s[^<>]{0,500})?>")
_CODE = re.compile(r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1[^\n]*$|\Z)", re.DOTALL | re.MULTILINE)
_TABLE = re.compile(r"\s*\|.*\|\s*")
_MARK = re.compile(r"\s*(?:[-*+•>]\s+|\d{1,2}[.)]\s+|#{1,6}\s+|\[[ xX]\]\s+)+")
_EMPHASIS = re.compile(r"\*\*([^*]+)\*\*")
# A full stop ends a sentence when white space follows and then no small letter ("e.g. this" goes on). CJK
# sentences end without white space.
_END = re.compile(r"(?<=[.!?…؟۔।])[\"'”’»)\]]*\s+(?![a-zß-öø-ÿа-я])|(?<=[。！？])[」』”）]*\s*")
_ABBREVIATION = re.compile(
    r"\b(?:e\.g|i\.e|cf|vs|etc|approx|mr|mrs|ms|dr|prof|st|z\.B|d\.h|\d{1,2}|[A-Z])\.$", re.IGNORECASE
)
_QUESTION = ("?", "？", "؟")
_CJK_END = ("。", "！", "？", "」", "』", "）")

_DECISION = re.compile(
    r"""\b(?:decid(?:e|ed|ing)|decision\ (?:is|was)|(?:we|as)\ agreed|agreed\ (?:to|on|that)|(?:we|i)\ chose
    |have\ chosen|settled\ on|go(?:ing)?\ with|went\ with|(?:switch|mov)(?:e|ed)?\ to|from\ now\ on|make\ sure
    |let['’]?s\ (?:use|go|keep|switch|drop|not|do|skip|leave|take)
    |we['’]?ll\ (?:use|go|keep|switch|drop|need|take)
    |(?:do\ not|don['’]t)\ (?:use|touch|change|add|remove|push|delete|break|store|ever))\b
    |^(?:please\ |and\ |but\ )*(?:use|keep|never|always|avoid|prefer|leave|stick)\ (?!it\ up|going)""",
    re.IGNORECASE | re.VERBOSE,
)
_LEANING = re.compile(
    r"\b(?:instead of|rather than|prefer|must(?! have\b| be\b)|never|always|only|keep|should|plan to)\b",
    re.IGNORECASE,
)
_RESULT = re.compile(
    r"""\b(?:fix(?:ed|es)|solved|resolved|finished|completed|implemented|works?\ now|now\ works?
    |(?:root\ )?(?:cause|culprit|reason|problem|bug|issue)\ (?:was|is)
    |turn(?:s|ed)\ out|(?:i|we)\ found|found\ (?:that|the|out)
    |(?:all|\d[\d,.]*)\ (?:\w+\ )?(?:tests?|checks?)|pass(?:es|ed|ing)?|fail(?:s|ed|ing)
    |merged|deployed|released|shipped|committed|added|removed|renamed|replaced|created|wrote|updated|migrated
    |verified|confirmed|measured|reproduced|(?:could|can)(?:\ not|n['’]t)|cannot
    |still\ (?:open|fails|missing|needs)|remain(?:s|ing)|next\ step|booked|ordered|paid)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_HINTING = re.compile(
    r"\b(?:because|so that|now|instead|faster|slower|bought|sent|got|no longer|works?|done|todo)\b",
    re.IGNORECASE,
)
_NARRATION = re.compile(
    r"""^(?:(?:now|ok(?:ay)?|first|next|then|good|great)[,.!]?\ )*
    (?:let\ me|i['’]?ll\ |i\ will\ |i['’]?m\ going\ to|i\ am\ going\ to|i\ need\ to|looking\ at|checking
    |let['’]?s\ (?:see|look|check))
    |^you(?:['’]?(?:re|ve)|\ (?:are|have))\b
    |\b(?:let\ me\ know|feel\ free|would\ you\ like|do\ you\ want|shall\ i|if\ you\ (?:want|like))\b""",
    re.IGNORECASE | re.VERBOSE,
)
_CHATTER = re.compile(
    r"""(?:h(?:i|ey|ello)\b|thanks?\b|thank\ you|great\b|nice\b|cool\b|good\b|glad\b|ok(?:ay)?\b|ye(?:s|ah)\b
    |no[,.!]|sure\b|wow\b|perfect\b|awesome\b|sounds\ good|continue\b|go\ (?:on|ahead)\b|please\ continue
    |(?:you['’]?re|that['’]?s)\ (?:so\ |really\ |absolutely\ )?(?:right|great|awesome|cool|amazing)
    |understood\b|congrat|done[.!]|(?:i\ )?(?:\w+\ )?agree\b
    |(?:guten|bonjour|hola|hallo|danke|merci|gracias)\b)""",
    re.IGNORECASE | re.VERBOSE,
)
_FACT = re.compile(r"\d+|`[^`]+`|\b\w+[_/.]\w+\b")


def prose(text: str) -> str:
    """What a person would read aloud of `text`: neither code nor wrapped notes of a host."""
    if len(text) > 2 * SCAN_CHARS:
        text = f"{text[:SCAN_CHARS]}\n{text[-SCAN_CHARS:]}"
    return _CODE.sub("\n", _unwrapped(text))


def _unwrapped(text: str) -> str:
    """`text` without wrapped notes. A tag that nothing closes stays: somebody wrote about it."""
    kept: list[str] = []
    start = 0
    # Not one pattern with `.*?`: on text full of open tags it takes the square of the length.
    for opened in _WRAPPER.finditer(text):
        closing = f"</{opened[1]}>"
        if opened.start() >= start and (end := text.find(closing, opened.end())) >= 0:
            kept += [text[start : opened.start()], "\n"]
            start = end + len(closing)
    return "".join([*kept, text[start:]])


def sentences(text: str) -> list[str]:
    """Sentences of `text` in order, each on one line; a line's end ends a sentence too."""
    found: list[str] = []
    for line in prose(text).splitlines():
        if not _TABLE.fullmatch(line):
            found += _of_line(_EMPHASIS.sub(r"\1", line[mark.end() :] if (mark := _MARK.match(line)) else line))
    return found


def _of_line(line: str) -> Iterator[str]:
    start = 0
    for match in _END.finditer(line):
        if not _ABBREVIATION.search(line, max(start, match.start() - 8), match.start()):
            yield from _told(line[start : match.end()])
            start = match.end()
    yield from _told(line[start:])


def _told(text: str) -> Iterator[str]:
    sentence = " ".join(text.split())
    # A line of marks, a lone bracket: nothing is said.
    if any(character.isalnum() for character in sentence):
        yield sentence


def clip(text: str, max_chars: int = MAX_QUOTE_CHARS) -> str:
    """`text` on one line, cut between words where it has any, the cut shown by an ellipsis.

    `max_chars` is for Latin script. Others say more with a character and take more tokens for it, and get as
    many bytes in UTF-8 as make one and a half times `max_chars`.
    """
    line = " ".join(text.split())
    cut = line[:max_chars]
    while (size_bytes := upper_bound(cut)) > max_chars * 3 // 2:
        cut = cut[: min(len(cut) - 1, len(cut) * max_chars * 3 // 2 // size_bytes)]
    if len(cut) == len(line):
        return line
    cut = cut[:-1]
    at = cut.rfind(" ")
    return f"{cut[:at] if at > len(cut) * 2 // 3 else cut}…"


def opening(text: str, max_chars: int = MAX_QUOTE_CHARS) -> str:
    """The first sentences of `text`, as many as fit, without a greeting; "" where there is none."""
    return _joined(_without_greeting(sentences(text)), max_chars)


def gist(text: str, max_chars: int = MAX_QUOTE_CHARS) -> str:
    """The first and the last sentence of an answer, and those between where all fit.

    Offers and announcements are left aside where anything else is said.
    """
    told = _without_greeting(sentences(text))
    told = [sentence for sentence in told if not _NARRATION.search(sentence)] or told
    whole = _joined(told, max_chars)
    if len(told) < 2 or whole.endswith(clip(told[-1], max_chars)):
        return whole
    last = clip(told[-1], max_chars // 2)
    return f"{_joined(told[:-1], max_chars - len(last) - 3)} … {last}".replace("… …", "…")


def around(told: Sequence[str], best: int, max_chars: int = MAX_QUOTE_CHARS) -> str:
    """The sentence at `best` and as many after it as fit; with all before it where that is short, too."""
    lead = _without_greeting(told[: best + 1])
    if sum(len(sentence) + 1 for sentence in lead) > max_chars or any(map(_NARRATION.search, lead)):
        lead = told[best : best + 1]
    return _joined([*lead, *told[best + 1 : best + 3]], max_chars)


def _without_greeting(told: Sequence[str]) -> Sequence[str]:
    while len(told) > 1 and is_chatter(told[0]):
        told = told[1:]
    return told


def _joined(told: Sequence[str], max_chars: int) -> str:
    """Leading sentences that fit, at least a part of the first; lines that lacked a stop are told apart."""
    text = told[0] if told else ""
    for sentence in told[1:]:
        gap = "" if text.endswith(_CJK_END) else " " if not text[-1].isalnum() else " / "
        if len(text) + len(gap) + len(sentence) > max_chars:
            break
        text += gap + sentence
    return clip(text, max_chars)


def is_chatter(sentence: str) -> bool:
    """A greeting, thanks or a nod and little else."""
    return len(sentence) < 45 and _CHATTER.match(sentence) is not None


def is_telling(sentence: str) -> bool:
    """Long enough to tell something, in any script, and neither a question nor a greeting."""
    return 36 <= upper_bound(sentence) <= 400 and not sentence.endswith(_QUESTION) and not is_chatter(sentence)


def facts(sentence: str) -> int:
    """Numbers and names as they stand in code; up to four count."""
    return min(len(_FACT.findall(sentence)), 4)


def decision_score(sentence: str, *, by_user: bool) -> float:
    """How much this reads like a decision, from MIN_SCORE on; 0 for a question and for narration.

    A wish ("prefer", "must", "only") binds when the user has it, and the user's word counts more.
    """
    if by_user:
        score = _score(sentence, _DECISION, _LEANING)
        return score + 1.5 if score else 0.0
    return _score(sentence, _DECISION, None)


def result_score(sentence: str) -> float:
    """How much this reads like a result or a finding; as `decision_score`."""
    return _score(sentence, _RESULT, _HINTING)


def _score(sentence: str, cues: re.Pattern[str], hints: re.Pattern[str] | None) -> float:
    """Cues count, hints and facts help, and what is too short or too long to quote loses."""
    if sentence.endswith((*_QUESTION, ":")) or is_chatter(sentence) or _NARRATION.search(sentence):
        return 0.0
    strong = len(cues.findall(sentence))
    weak = len(hints.findall(sentence)) if hints else 0
    if strong + weak == 0:
        return 0.0
    score = min(strong, 3) + 0.5 * min(weak, 3) + 0.4 * facts(sentence)
    if len(sentence) > 2 * MAX_QUOTE_CHARS or len(sentence) < 12:
        score *= 0.6
    if sentence.endswith("!"):
        score -= 0.5
    return score if score >= MIN_SCORE else 0.0
