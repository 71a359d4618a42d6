"""What a session is called: by its user, by a model, or by a summary of it."""

from typing import Any

from backscroll.importers.claude_code.earlier import Earlier

# The field that holds the title, and its rank: what the user called it goes before what was generated.
_TITLES = {"custom-title": ("customTitle", 3), "ai-title": ("aiTitle", 2), "summary": ("summary", 1)}
_GIVEN, _SUMMED_UP = 3, 1

KINDS = frozenset(_TITLES)


class Titles:
    """Titles by session. `start` is where this reading begins."""

    def __init__(self, start: int, earlier: Earlier) -> None:
        self._start = start
        self._earlier = earlier
        self._titles: dict[str, tuple[int, str]] = {}
        self._leaves: dict[str, str] = {}

    def of(self, session: str) -> str | None:
        return self._titles.get(session, (0, None))[1]

    def take(self, kind: str, value: dict[str, Any], session: str, end: int) -> bool:
        """A line of one of KINDS that ends at byte `end`; False where it names nothing, or not yet."""
        field, rank = _TITLES[kind]
        title = value.get(field)
        if not isinstance(title, str) or not title.strip():
            return False
        leaf = value.get("leafUuid")
        if kind == "summary" and isinstance(leaf, str) and not self._earlier.has_line(leaf, session, end):
            # Summaries of other sessions stand in a file too; their last line tells whose they are.
            self._leaves[leaf] = title
            return False
        if kind == "ai-title" and self._start and session not in self._titles:
            given = self._earlier.custom_title(session, self._start)
            if given:
                self._name(session, _GIVEN, given)
        self._name(session, rank, title)
        return True

    def met(self, uuid: str, session: str) -> None:
        """A line of this session: a summary read before may have waited for it."""
        if uuid in self._leaves:
            self._name(session, _SUMMED_UP, self._leaves.pop(uuid))

    def _name(self, session: str, rank: int, title: str) -> None:
        if rank >= self._titles.get(session, (0, ""))[0]:
            self._titles[session] = (rank, title)
