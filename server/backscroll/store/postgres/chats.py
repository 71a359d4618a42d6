"""Windows of a session: a chat page by page, and the last runs of a context. Each is one round trip."""

from collections.abc import Sequence

from ...errors import MessageNotFound
from ...models import Message, Run
from .. import ChatSlice, ChatWindow, ContextSlice
from ..rows import NEWEST, RUN_COLUMNS, run_of
from .database import Ask, Row
from .messages import MESSAGE_COLUMNS, hanging_columns, message_of
from .part import Part
from .rows import lineage_of, named, session_asked, session_told
from .sessions import summary_asked, summary_told
from .windows import Shown, counted_runs, shown_in

_RUN_COLUMNS = ", ".join(f"r.{name}" for name in RUN_COLUMNS.split(", "))
_NEWEST = str(NEWEST)


class Chats(Part):
    async def chat(self, user_id: str, session: str, window: ChatWindow) -> ChatSlice:
        one = named(user_id, session)
        found, sides, *walks = await self._database.fetch(session_asked(one), *_asked(shown_in(one, window), window))
        row = session_told(found, session)
        total, older, newer, here = sides[0]
        if not here:
            raise MessageNotFound(f"{row.handle}.{window.around}")
        told, more = zip(*map(_walked, walks), strict=True)
        if window.start is not None:
            messages, newer = told[0], more[0]
        elif window.around is not None:
            messages, (newer, older) = [*told[1][::-1], *told[0]], more
        else:
            messages, older = told[0][::-1], more[0]
        as_of = row.last_seq if window.as_of is None else window.as_of
        return ChatSlice(row.value(), tuple(messages), older, newer, total, as_of)

    async def runs(self, user_id: str, session: str) -> list[Run]:
        one = named(user_id, session)
        found, rows = await self._database.fetch(
            session_asked(one),
            Ask(
                f"WITH RECURSIVE {lineage_of(one.where)} SELECT {_RUN_COLUMNS} FROM line AS l "
                "JOIN runs AS r ON r.user_key = %(user)s AND r.session_key = l.session_key "
                "AND coalesce(r.first_seq, 0) <= l.high ORDER BY l.depth DESC, r.run_index",
                one.values,
            ),
        )
        session_told(found, session)
        return list(map(run_of, rows))

    async def context(
        self, user_id: str, session: str, *, num_history_runs: int, agent: str | None, max_chars: int
    ) -> ContextSlice:
        one = named(user_id, session)
        values = {**one.values, "runs": num_history_runs, "agent": agent, "chars": max_chars}
        ctes = f"WITH RECURSIVE {lineage_of(one.where)}, {counted_runs(agent)}, {_FITTING}"
        found, summary, rows = await self._database.fetch(
            session_asked(one),
            summary_asked(one),
            Ask(
                # A run comes with its first message.
                f"{ctes} SELECT w.listed, CASE WHEN row_number() OVER (PARTITION BY w.place ORDER BY m.seq) = 1 "
                f"THEN json_build_array({_RUN_COLUMNS}) END, l.number, {MESSAGE_COLUMNS}, {hanging_columns('l.high')} "
                f"FROM fitting AS w {_RUN} LEFT JOIN LATERAL (SELECT m.* FROM {_ITS_MESSAGES} ORDER BY m.seq) AS m "
                "ON TRUE ORDER BY w.place DESC, m.seq",
                values,
            ),
        )
        row = session_told(found, session)
        runs: list[tuple[Run, list[Message]]] = []
        for _, run, number, *message in rows:
            if run is not None:
                runs.append((run_of(run), []))
            if message[0] is not None:
                runs[-1][1].append(message_of((number, *message)))
        told = tuple((run, tuple(messages)) for run, messages in runs)
        return ContextSlice(row.value(), summary_told(summary, row), told, rows[0][0] - len(told) if rows else 0)


def _asked(shown: Shown, window: ChatWindow) -> list[Ask]:
    """What lies around the window, and its messages from where it begins."""
    total = shown.total(window)
    if window.start is not None:
        return [
            shown.around(total, older=shown.any("0", "%(start)s - 1")),
            shown.walk("%(start)s - 1", _NEWEST, "ASC"),
        ]
    if window.around is not None:
        return [
            shown.around(total, here=shown.is_there("%(around)s")),
            shown.walk("%(around)s - 1", _NEWEST, "ASC"),
            shown.walk("0", "%(around)s - 1", "DESC"),
        ]
    if window.before is not None:
        return [
            shown.around(total, newer=shown.any("%(before)s - 1", _NEWEST)),
            shown.walk("0", "%(before)s - 1", "DESC"),
        ]
    return [shown.around(total), shown.walk("0", _NEWEST, "DESC")]


def _walked(rows: Sequence[Row]) -> tuple[list[Message], bool]:
    """The messages of Shown.walk, and whether more follow."""
    return [message_of(row[1:]) for row in rows], bool(rows) and rows[0][0] > len(rows)


_RUN = (
    "CROSS JOIN LATERAL (SELECT r.* FROM runs AS r WHERE r.user_key = %(user)s AND r.run_key = w.run_key LIMIT 1) AS r "
    "JOIN line AS l ON l.session_key = r.session_key"
)
_ITS_MESSAGES = (
    "messages AS m WHERE m.user_key = %(user)s AND m.session_key = r.session_key AND m.seq >= r.first_seq "
    "AND m.seq <= r.last_seq AND m.seq <= l.high AND m.run_key = r.run_key AND m.from_history = 0"
)

# Run by run, the newest first, until their texts fill the room: older ones are not looked into.
_SIZE = (
    f"(SELECT m.chars FROM (SELECT {{0}} AS run_key) AS w {_RUN} CROSS JOIN LATERAL ("
    f"SELECT coalesce(sum(least(length(m.text), %(chars)s)), 0) AS chars FROM {_ITS_MESSAGES}) AS m)"
).format
_FITTING = (
    "listed AS (SELECT array_agg(run_key ORDER BY place) AS keys FROM counted), "
    "fitting AS (SELECT 1::bigint AS place, k.keys[1] AS run_key, cardinality(k.keys) AS listed, "
    f"{_SIZE('k.keys[1]')} AS chars FROM listed AS k WHERE k.keys IS NOT NULL "
    "UNION ALL "
    f"SELECT w.place + 1, k.keys[w.place + 1], w.listed, w.chars + {_SIZE('k.keys[w.place + 1]')} "
    "FROM fitting AS w CROSS JOIN listed AS k WHERE w.chars < %(chars)s AND w.place < w.listed)"
)
