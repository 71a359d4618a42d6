"""What a credential grants, told apart from how it is proved: a user, scopes, a time."""

import re
from collections.abc import Iterable
from datetime import timedelta

from ..access import SCOPES, Scope
from ..errors import InvalidArgument

MAX_USER_CHARS = 256
LONGEST = timedelta(days=36_500)

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LIFETIME = re.compile(r"([0-9]{1,12})([smhd])")


def is_user(user_id: object) -> bool:
    """Whether this can name a user: some text, bounded, on one line, without signs that cannot be seen or stored.

    A control character could forge a line of a log, a lone surrogate has no UTF-8, and Postgres keeps no NUL.
    """
    return (
        isinstance(user_id, str) and bool(user_id.strip()) and len(user_id) <= MAX_USER_CHARS and user_id.isprintable()
    )


def checked_user(user_id: str) -> str:
    """Raises InvalidArgument."""
    if not is_user(user_id):
        raise InvalidArgument(
            f"A user's name is some text on one line, of {MAX_USER_CHARS} characters at most and without control "
            "characters. Give another with --user."
        )
    return user_id


def known_scopes(names: Iterable[object]) -> frozenset[Scope]:
    """Those of ours among them: what an issuer grants for other services is none of our business."""
    given = {name for name in names if isinstance(name, str)}
    return frozenset(scope for scope in SCOPES if scope in given)


def chosen_scopes(text: str) -> frozenset[Scope]:
    """`read,write`, by commas or spaces. Raises InvalidArgument where one is unknown, or there is none."""
    names = text.replace(",", " ").split()
    unknown = sorted(set(names) - set(SCOPES))
    if unknown or not names:
        wrong = f"not {unknown[0]!r:.40}" if unknown else "and one at least"
        raise InvalidArgument(f"--scope takes {', '.join(SCOPES)}, by commas, {wrong}.")
    return known_scopes(names)


def scope_text(scopes: Iterable[Scope], separator: str = " ") -> str:
    """In the order of SCOPES."""
    granted = set(scopes)
    return separator.join(scope for scope in SCOPES if scope in granted)


def lifetime(text: str) -> timedelta | None:
    """`90d`, `12h`, `30m`, `45s`; None for `never`. Raises InvalidArgument."""
    if text.strip() == "never":
        return None
    found = _LIFETIME.fullmatch(text.strip())
    try:
        length = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta()
    except OverflowError:
        length = timedelta.max
    if not timedelta() < length <= LONGEST:
        raise InvalidArgument(
            f"--expires takes a time such as 90d, 12h, 30m or 45s, up to {LONGEST.days}d, or never; not {text!r:.40}."
        )
    return length
