"""What reaches the terminal: text without control characters, on consoles that are passed in.

Stored text comes from anywhere. An escape sequence in it could move the cursor, rewrite what was shown,
set the window's title or the clipboard; a bidirectional override could make a line read as another.
"""

import json
import re
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

# C0 but newline and tab, DEL, C1, and the bidirectional embeddings, overrides and isolates (UAX #9).
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

# What JSON leaves as it is and a terminal would obey, and what no stream can encode.
_NOT_IN_JSON = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_SURROGATES = re.compile("[\ud800-\udfff]")


def safe(text: str) -> str:
    """The text with each control character as a sign that can be seen: ESC as `␛`, U+202E as `⟨U+202E⟩`.

    Newlines and tabs stay, CRLF becomes a newline, lone surrogates become `\ufffd`.
    """
    shown = _CONTROLS.sub(_sign, text.replace("\r\n", "\n"))
    return _SURROGATES.sub("\ufffd", shown)


def _sign(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


def line(text: str) -> str:
    """Safe text on one line."""
    return safe(" ".join(text.split()))


def json_text(value: Any) -> str:
    """One JSON document, indented, that means exactly `value` and holds no control character."""
    written = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    return _NOT_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


def put_json(value: Any) -> None:
    """Print one JSON document to standard output."""
    sys.stdout.write(f"{json_text(value)}\n")


def put(console: Console, text: Text) -> None:
    """Print talk word for word: the terminal wraps its lines, and in a pipe its tabs stay tabs."""
    if console.is_terminal:
        console.print(text, soft_wrap=True)
    else:
        console.file.write(f"{text.plain}\n")


def results() -> Console:
    """Standard output. In a pipe lines are not wrapped: whoever reads them wants each whole."""
    return _console(sys.stdout)


def notes() -> Console:
    """Standard error: messages and progress."""
    return _console(sys.stderr)


def _console(file: Any) -> Console:
    # No markup, no emoji codes, no guesses at what is a number: stored text is shown as it is.
    return Console(file=file, markup=False, emoji=False, highlight=False, soft_wrap=not file.isatty())
