"""Topics of a conversation: the terms that keep coming back and are not everybody's words."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from .stopwords import STOP_WORDS

MAX_TOPICS = 8

# Words: letters of any script, with the marks that Python's \w leaves out (combining, Indic, Thai, ...).
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u0652\u0900-\u0fff\u1000-\u109f\u1780-\u17ff"
_WORD = re.compile(rf"[^\W\d_](?:[\w{_MARKS}]|[.’'-](?=[^\W_]))*")
_IDENTIFIER = re.compile(r"\w_\w|[a-z][A-Z]|\w\.[a-z]{1,4}$|^[A-Z]{2,}\d*$|[A-Za-z]\d")
_HAN = re.compile(r"[\u4e00-\u9fff]{2,}")
_KANA_WORD = re.compile(r"[\u30a1-\u30ffー]{3,}")
_EAST_ASIAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_URL = re.compile(r"https?://\S+")


def topics_of(texts: Iterable[str], names: Iterable[str] = (), previous: Sequence[str] = ()) -> tuple[str, ...]:
    """At most MAX_TOPICS terms of `texts`, best first, each as it was mostly written.

    `names` are things worked on, such as file names, and count as said twice. `previous` are the topics so
    far: they compete with the new ones, the first ones most strongly.
    """
    spread: Counter[str] = Counter()
    forms: defaultdict[str, Counter[str]] = defaultdict(Counter)
    capitals: Counter[str] = Counter()
    messages = 0
    for text in texts:
        messages += 1
        seen: set[str] = set()
        for term, within in _terms(_URL.sub(" ", text)):
            key = _key(term)
            forms[key][term] += 1
            capitals[key] += within and term[:1].isupper()
            seen.add(key)
        spread.update(seen)
    for name in names:
        spread[_key(name)] += 2
        forms[_key(name)][name] += 1

    # A term of one message alone says little, unless there is little else.
    brief = not previous and max(spread.values(), default=0) <= 1
    weights: dict[str, float] = {}
    for key, times in spread.items():
        form = _commonest(forms[key])
        identifier = _IDENTIFIER.search(form) is not None
        if times == 1 and not (brief or identifier):
            continue
        weight = times + 0.3 * (forms[key].total() - times)
        if identifier:
            weight *= 2.0
        elif capitals[key] * 2 > forms[key].total():
            weight *= 1.6
        elif len(key) >= 8:
            weight *= 1.25
        # What is in every other message is how these two talk, a name or "the test", and finds nothing.
        weights[key] = weight * 0.4 if messages > 8 and times > messages * 0.4 else weight
    shown = {key: _commonest(forms[key]) for key in weights}
    for rank, topic in enumerate(previous):
        key = _key(topic)
        shown.setdefault(key, topic)
        weights[key] = weights.get(key, 0.0) + max(5.0 - 0.4 * rank, 1.0)
    # Ties go by the term itself, so that the same session always has the same topics.
    return tuple(shown[key] for key in sorted(weights, key=lambda key: (-weights[key], key))[:MAX_TOPICS])


def _terms(text: str) -> Iterator[tuple[str, bool]]:
    """Terms of a text, each with whether it stands within a sentence, where a capital means a name."""
    before = 0
    for match in _WORD.finditer(text):
        word = match[0].rstrip(".-'’")
        gap = text[before : match.start()]
        within = before > 0 and not any(mark in gap for mark in '.!?:\n"“*•#>-')
        before = match.end()
        if _EAST_ASIAN.search(word):
            yield from ((term, False) for term in _east_asian(word))
        elif (
            3 <= len(word) <= 40
            and word.casefold().removesuffix("'s").removesuffix("’s") not in STOP_WORDS
            and not _contracted(word)
        ):
            yield word.removesuffix("'s").removesuffix("’s"), within


def _east_asian(run: str) -> Iterator[str]:
    """Katakana words and short Han words; of a long Han run, which no space divides, its bigrams."""
    yield from _KANA_WORD.findall(run)
    for han in _HAN.findall(run):
        if len(han) <= 4:
            yield han
        else:
            yield from (han[at : at + 2] for at in range(len(han) - 1))


def _contracted(word: str) -> bool:
    return re.search(r"['’](?:t|re|ve|ll|d|m)$", word, re.IGNORECASE) is not None


def _key(term: str) -> str:
    """One key for a word and its plain plural."""
    folded = term.casefold()
    return (
        folded[:-1] if len(folded) > 4 and folded.endswith("s") and not folded.endswith(("ss", "us", "is")) else folded
    )


def _commonest(forms: Counter[str]) -> str:
    return min(forms, key=lambda form: (-forms[form], form))
