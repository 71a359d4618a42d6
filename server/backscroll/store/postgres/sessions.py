"""Sessions: one, the newest, lists of them, their summaries."""

from collections.abc import Sequence
from typing import Any

from ...errors import SessionNotFound
from ...models import Session, Summary
from .. import SessionFilter, SessionsFound
from ..rows import SUMMARY_COLUMNS, SessionRow, ascii_lower, maybe_ms, pack_id, summary_of
from .database import Ask, Row, user_key
from .part import Part
from .rows import SESSION_COLUMNS, Named, lineage_of, named, session_asked, session_told

_IS_UUID = "s.session_id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'"

# An id that is a UUID is looked for as its bare digits: with a part of it, hyphens are not always typed.
_WORDS = (
    "lower((coalesce(s.title, '') || ' ' || coalesce(s.opening, '') || ' ' || coalesce(s.project, '') || ' #' || "
    f"s.number || ' ' || CASE WHEN {_IS_UUID} THEN replace(s.session_id, '-', '') ELSE s.session_id END) "
    'COLLATE "C")'
)

_NOW = "s.last_activity_at"
# The time of a session's newest message that existed at `as_of`, where others came since.
_THEN = (
    "(SELECT m.created_at FROM messages AS m WHERE m.user_key = %(user)s AND m.session_key = s.session_key "
    "AND m.message_key <= %(as_of)s ORDER BY m.seq DESC LIMIT 1)"
)


class Sessions(Part):
    async def session(self, user_id: str, session: str) -> Session:
        (rows,) = await self._database.fetch(session_asked(named(user_id, session)))
        return session_told(rows, session).value()

    async def newest_session(self, user_id: str, project: str | None) -> Session | None:
        narrowed = "" if project is None else "AND s.project = %(project)s "
        found = await self._listed(user_id, f"s.archived = 0 {narrowed}", limit=1, project=project)
        return found[0] if found else None

    async def summarized_sessions(self, user_id: str, limit: int) -> list[Session]:
        summed_up = (
            "s.archived = 0 AND EXISTS (SELECT 1 FROM summaries AS u WHERE u.user_key = s.user_key "
            "AND u.session_key = s.session_key)"
        )
        return await self._listed(user_id, summed_up, limit=limit)

    async def titles(self, user_id: str, prefix: str, limit: int) -> list[Session]:
        typed = ascii_lower(prefix.strip())
        matching = (
            "(%(typed)s = '' OR strpos('#' || s.number, %(typed)s) = 1 OR s.number::text = %(typed)s "
            "OR strpos(lower(coalesce(s.title, s.opening, '') COLLATE \"C\"), %(typed)s) > 0 "
            f"OR CASE WHEN {_IS_UUID} THEN strpos(replace(s.session_id, '-', ''), %(digits)s) "
            'ELSE strpos(lower(s.session_id COLLATE "C"), %(typed)s) END = 1)'
        )
        return await self._listed(user_id, matching, limit=limit, typed=typed, digits=typed.replace("-", ""))

    async def _listed(self, user_id: str, where: str, **values: Any) -> list[Session]:
        """The first `limit` of them, newest activity first."""
        (rows,) = await self._database.fetch(
            Ask(
                f"SELECT {SESSION_COLUMNS} FROM sessions AS s WHERE s.user_key = %(user)s AND {where} "
                "ORDER BY s.last_activity_at DESC, s.session_key DESC LIMIT %(limit)s",
                {"user": user_key(user_id), **values},
            )
        )
        return [SessionRow._make(row).value() for row in rows]

    async def sessions(
        self,
        user_id: str,
        where: SessionFilter,
        *,
        limit: int,
        after: tuple[int, int] | None = None,
        as_of: int | None = None,
        exclude: str | None = None,
    ) -> SessionsFound:
        values = {"user": user_key(user_id), "as_of": as_of, "limit": limit}
        lists = _lists(user_id, where, exclude, as_of, values)
        total = " + ".join(f"(SELECT count(*) FROM sessions AS s WHERE {one.where})" for one in lists)
        beyond = ""
        if after is not None:
            beyond = " AND ({activity}, s.number) < (%(after_at)s, %(after_number)s)"
            values["after_at"], values["after_number"] = after
        pages = " UNION ALL ".join(
            f"(SELECT {one.activity} AS activity, s.session_key, s.number FROM sessions AS s "
            f"WHERE {one.where}{beyond.format(activity=one.activity)} "
            f"ORDER BY {one.activity} DESC, s.number DESC LIMIT %(limit)s)"
            for one in lists
        )
        counted, rows = await self._database.fetch(
            Ask(
                f"SELECT {total}, coalesce(%(as_of)s::bigint, "
                "(SELECT last_message_key FROM users WHERE user_key = %(user)s), 0)",
                values,
            ),
            Ask(
                f"SELECT l.activity, {SESSION_COLUMNS} FROM ({pages}) AS l "
                "JOIN sessions AS s ON s.user_key = %(user)s AND s.session_key = l.session_key "
                "ORDER BY l.activity DESC, l.number DESC LIMIT %(limit)s",
                values,
            ),
        )
        found = tuple(SessionRow._make(row[1:]).value() for row in rows)
        return SessionsFound(found, tuple(row[0] for row in rows), counted[0][0], counted[0][1])

    async def previews(self, user_id: str, of: Sequence[Session]) -> list[tuple[str | None, str | None]]:
        lines = lineage_of("s.user_key = %(user)s AND s.number = ANY(%(numbers)s::bigint[])")
        (rows,) = await self._database.fetch(
            Ask(
                f"WITH RECURSIVE {lines} "
                "SELECT DISTINCT ON (l.asked) l.asked, m.text FROM line AS l CROSS JOIN LATERAL ("
                "SELECT substr(m.text, 1, 1000) AS text FROM messages AS m WHERE m.user_key = %(user)s "
                "AND m.session_key = l.session_key AND m.seq > l.low AND m.seq <= l.high AND m.role = 'assistant' "
                "AND m.text <> '' ORDER BY m.seq DESC LIMIT 1) AS m ORDER BY l.asked, l.depth",
                {"user": user_key(user_id), "numbers": [one.number for one in of]},
            )
        )
        last: dict[int, str] = dict(rows)
        return [(one.opening, last.get(one.number)) for one in of]

    async def summary(self, user_id: str, session: str) -> Summary | None:
        one = named(user_id, session)
        found, rows = await self._database.fetch(session_asked(one), summary_asked(one))
        return summary_told(rows, session_told(found, session))


class _List:
    """Sessions that match, and by what time they are in order."""

    def __init__(self, clauses: Sequence[str], activity: str) -> None:
        self.where = " AND ".join(clauses).replace("{activity}", activity)
        self.activity = activity


def _lists(
    user_id: str, where: SessionFilter, exclude: str | None, as_of: int | None, values: dict[str, Any]
) -> list[_List]:
    """The sessions that match; what they bind goes into `values`.

    As of an earlier moment they are two lists: those that stand as they did, which an index has in order, and the
    few that have grown since.
    """
    clauses = ["s.user_key = %(user)s"]
    words = (where.query or "").split()
    if not words:
        clauses.append("s.archived = 0")
    for i, word in enumerate(words):
        clauses.append(f"strpos({_WORDS}, %(word{i})s) > 0")
        values[f"word{i}"] = word.lower().replace("-", "") if _is_uuid(word) else ascii_lower(word)
    for name in ("project", "source"):
        if (value := getattr(where, name)) is not None:
            clauses.append(f"s.{name} = %({name})s")
            values[name] = value
    if exclude is not None and (current := _maybe_named(user_id, exclude)):
        clauses.append(f"NOT ({current.where})")
        values["ref"] = current.values["ref"]
    for name, moment, operator in (("since", where.since, ">="), ("until", where.until, "<")):
        if moment is not None:
            time = "s.created_at" if where.overlapping and name == "until" else "{activity}"
            clauses.append(f"{time} {operator} %({name})s")
            values[name] = maybe_ms(moment)
    if as_of is None:
        return [_List(clauses, _NOW)]
    return [
        _List([*clauses, "s.last_message_key <= %(as_of)s"], _NOW),
        _List([*clauses, "s.last_message_key > %(as_of)s", "{activity} IS NOT NULL"], _THEN),
    ]


def _maybe_named(user_id: str, ref: str) -> Named | None:
    try:
        return named(user_id, ref)
    except SessionNotFound:
        return None


def _is_uuid(word: str) -> bool:
    return isinstance(pack_id(word.lower()), bytes)


def summary_asked(one: Named) -> Ask:
    """The newest summary of a session."""
    return Ask(
        f"SELECT {SUMMARY_COLUMNS} FROM summaries WHERE user_key = %(user)s AND session_key = "
        f"(SELECT s.session_key FROM sessions AS s WHERE {one.where}) ORDER BY version DESC LIMIT 1",
        one.values,
    )


def summary_told(rows: Sequence[Row], session: SessionRow) -> Summary | None:
    return summary_of(rows[0], session.last_seq) if rows else None
