"""How the demo is told: what the agent calls, what it reads, what that costs; and what was checked."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from ..errors import BackscrollError
from ..render import compact
from ..terminal import line, safe
from ..tokens import counter

MAX_WIDTH = 100
_GUTTER = "  │ "


class DemoError(BackscrollError):
    """Something came back other than it was recorded, or the server failed; the message says what."""


class Teller:
    """Prints steps on a console, counts the tokens that were read, and checks claims."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = min(console.width, MAX_WIDTH) if console.is_terminal else MAX_WIDTH
        self._step = 0
        self.tokens_read = 0
        self.checks = 0
        counter.load()

    def say(self, text: str, style: str = "") -> None:
        for told in Text(text, style).wrap(self._console, self._width):
            told.rstrip()
            self._console.print(told)

    def step(self, text: str) -> None:
        self._step += 1
        self._console.print()
        self.say(f"{self._step}. {text}", "bold")

    def called(self, tool: str, arguments: Mapping[str, Any], answer: str) -> None:
        """A call as the agent makes it, and the whole of what it reads."""
        given = ", ".join(f"{name}={_value(value)}" for name, value in arguments.items())
        self._read(f"{tool}({given})", answer)

    def opened(self, uri: str, text: str) -> None:
        """A resource as the host reads it."""
        self._read(f"resource {uri}", text)

    def _read(self, asked: str, answer: str) -> None:
        tokens = counter.count(answer)
        self.tokens_read += tokens
        head = Text.assemble((line(asked), "cyan"), (f"  {tokens:,} tokens", "green"))
        for part in head.wrap(self._console, self._width - 2):
            part.rstrip()
            self._console.print(Text.assemble("  ", part))
        room = self._width - len(_GUTTER)
        for told in safe(answer).expandtabs(4).split("\n"):
            for part in Text(told).wrap(self._console, room) or [Text()]:
                part.rstrip()
                self._console.print(Text.assemble((_GUTTER if part else _GUTTER.rstrip(), "dim"), part))

    def check(self, holds: bool, claim: str) -> None:
        """Raises DemoError, with what was claimed, where it does not hold."""
        if not holds:
            raise DemoError(f"The demo found a fault: it is not so that {claim}.")
        self.checks += 1


def _value(value: Any) -> str:
    return f"[{len(value)} messages]" if isinstance(value, list) else compact(value)
