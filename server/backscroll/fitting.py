"""Fitting answers to a token budget. Counts are of the text exactly as it is returned, in o200k tokens."""

import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from .answers import Behind, Format, Page
from .errors import InvalidArgument
from .render import compact, line_json, page_json, page_text
from .tokens import TokenCounter, estimate

MIN_TOKENS, MAX_TOKENS = 200, 20_000
CHARS_PER_TOKEN = 6
"""Read this many characters for each token of the budget: prose has four or five, code three."""

NO_ROOM = "[cut: ask again with a larger max_tokens or shorter arguments]"
"""Stands for a cursor that the budget cannot hold, since the arguments in it are too long."""


SMALLEST_PART = 16
"""Tokens of a text that are worth showing; below that, other parts of the page have to go."""

P = TypeVar("P", bound=Page)


class Budget:
    """How many tokens an answer may take, and in which form it is counted."""

    def __init__(self, max_tokens: int, form: Format, counter: TokenCounter) -> None:
        """Raises InvalidArgument for a budget outside 200 to 20,000 or an unknown form."""
        if isinstance(max_tokens, bool) or not isinstance(max_tokens, int):
            raise InvalidArgument(f"max_tokens must be a whole number from {MIN_TOKENS} to {MAX_TOKENS:,}.")
        if not MIN_TOKENS <= max_tokens <= MAX_TOKENS:
            raise InvalidArgument(f"max_tokens must be {MIN_TOKENS} to {MAX_TOKENS:,}, not {max_tokens:,}.")
        if form not in ("text", "json"):
            raise InvalidArgument(f'format must be "text" or "json", not {form!r:.40}.')
        self.max_tokens = max_tokens
        self.form = form
        self._counter = counter
        self.behind: Behind | None = None
        """Stands at the foot of the answer, and is part of what it costs: see `told`."""

    @property
    def max_chars(self) -> int:
        """How much text is worth fetching to fill the budget."""
        return self.max_tokens * CHARS_PER_TOKEN + 1_000

    def returned(self, page: Page) -> str:
        """The page as it is returned."""
        return self._written(self._with_foot(page))

    def told(self, page: P) -> P:
        """The page with its foot. A budget so small that even a line is too long for it gets none."""
        whole = self._with_foot(page)
        if whole is page or self._counter.fits(self._written(whole), self.max_tokens):
            return whole
        return page

    def _with_foot(self, page: P) -> P:
        return page if self.behind is None else page.model_copy(update={"behind": self.behind})

    def _written(self, page: Page) -> str:
        return page_text(page) if self.form == "text" else compact(page_json(page))

    def holds(self, page: Page) -> bool:
        return self.within(page, self.max_tokens)

    def within(self, page: Page, max_tokens: int) -> bool:
        """Whether the page costs at most so much: for a small one this takes no counting."""
        return self._counter.fits(self.returned(page), max_tokens)

    def cost(self, page: Page) -> int:
        return self._counter.count(self.returned(page))

    def cost_of(self, line: Any, text: Callable[[Any], str]) -> int:
        """What one item adds to a page."""
        return self._counter.count(text(line) + "\n" if self.form == "text" else line_json(line))

    def count(self, text: str) -> int:
        return self._counter.count(text)

    def prefix(self, text: str, max_tokens: int) -> str:
        """The beginning of a text that takes at most `max_tokens` where it is returned.

        In JSON a text costs more than its own tokens, for its escapes.
        """
        shown = self._counter.prefix(text, max(max_tokens, 1))
        while self.form == "json" and len(shown) > 1 and self._counter.count(compact(shown)) > max_tokens:
            shown = shown[: len(shown) * 4 // 5]
        return shown or text[:1]

    def missing(self, shown: str, rest_chars: int, rest: str) -> int:
        """The tokens of what was cut: counted where it is at hand and short, else projected from what is shown."""
        if rest_chars <= len(rest) and rest_chars <= 50_000:
            return self._counter.count(rest[:rest_chars])
        per_char = max(estimate(shown), 1) / max(len(shown), 1)
        return max(int(rest_chars * per_char), 1)


def leading(costs: Iterable[int], available: int) -> int:
    """How many items from the first on fit into what is available."""
    taken = 0
    for cost in costs:
        available -= cost
        if available < 0:
            break
        taken += 1
    return taken


def filled(
    page_of: Callable[[int], P],
    lines: Sequence[Any],
    text: Callable[[Any], str],
    limit: int,
    budget: Budget,
    last_resort: Callable[[P], P],
) -> P:
    """The page with as many of the first lines as fit, at most `limit` and at least one.

    `page_of` makes the page of so many lines; costs of lines tell roughly how many, the page itself exactly.
    """
    if not lines:
        return page_of(0)
    frame = budget.cost(page_of(1)) - budget.cost_of(lines[0], text)
    costs = (budget.cost_of(line, text) for line in lines)
    taken = max(1, min(leading(costs, budget.max_tokens - frame), limit))
    while taken > 1 and not budget.holds(page_of(taken)):
        taken -= 1
    page = page_of(taken)
    return page if budget.holds(page) else last_resort(page)


def squeezed(page_of: Callable[[int], P], available: int, budget: Budget, last_resort: Callable[[P], P]) -> P:
    """The page with as much of a text as fits. What is tried shrinks by a fifth: only a whole page tells its cost."""
    while True:
        page = page_of(available)
        if budget.holds(page):
            return page
        if available <= SMALLEST_PART:
            return last_resort(page)
        available = available * 4 // 5


def shares(wanted: Sequence[int], available: int) -> list[int]:
    """Divide tokens among texts: short ones get all they want, the others equal shares of the rest."""
    given = [0] * len(wanted)
    left = max(available, 0)
    waiting = sorted(range(len(wanted)), key=lambda i: wanted[i])
    for position, i in enumerate(waiting):
        given[i] = min(wanted[i], left // (len(waiting) - position))
        left -= given[i]
    return given


def nonce() -> str:
    """What tells this answer's fence from any text inside it."""
    return secrets.token_hex(4)


def cut_words(tokens: int, how: str) -> str:
    """`how` is `cursor "..."` or a call that reads on."""
    return f"[{tokens:,} tokens cut: {how} reads on]"
