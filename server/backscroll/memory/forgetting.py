"""What a memory forgets: a session, all that match, what expired, what is too much."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from ..answers import DeleteReceipt, DeletionPreview, DeletionReceipt, DoomedSession
from ..errors import Conflict, InvalidArgument
from ..exclusions import globs
from ..recall.reading import at_ms, handle, moment, now_ms
from ..store.choices import Chosen, Wanted
from ..store.purging import SHARED
from .arguments import flag, maybe_text, one_of
from .recalling import Recalling

Forks = Literal["refuse", "keep", "delete"]

NOT_REACHED = ("transcripts that the host itself keeps", "backups and exports made before")
SHOWN = 5
"""Sessions that a preview names."""
AT_ONCE = 500
DAY_MS = 86_400_000


class Forgetting(Recalling):
    async def delete_session(self, session_id: str, *, forks: Forks = "refuse", purge: bool = False) -> DeleteReceipt:
        """Delete a session with all that hangs on it, the sessions of its sub-agents too.

        `purge` also rewrites the file, and says what it found after.
        """
        one_of("forks", forks, get_args(Forks))
        ref, seq = handle(session_id)
        if seq is not None:
            raise InvalidArgument(f"{session_id} names a message. delete_session takes a session, such as {ref}.")
        flag("purge", purge)
        purges = purge and not self._app.is_shared
        deleted = await self.store.delete_session(self.user_id, ref, forks=forks, with_words=purges)
        self._app.changed(self.user_id, deleted.session.session_id)
        told = await self._purge(deleted.rare_words, "this session") if purges else self._pending()
        return DeleteReceipt(
            session_id=deleted.session.session_id,
            session=deleted.session.session,
            deleted=deleted.rows,
            forks=forks,
            purge=told,
            not_reached=(*NOT_REACHED, *self.store.purging.copies),
        )

    async def preview_deletion(
        self,
        *,
        project: str | None = None,
        before: str | None = None,
        source: str | None = None,
        expired: bool = False,
        over_quota: bool = False,
    ) -> DeletionPreview:
        """What a deletion would take: sessions for which all that is given holds. Nothing is deleted.

        `project`: a glob, or several by commas, as in the setting `exclude_projects`. `before`: no message is as
        new as that, an ISO date or an age such as `90d`. `expired`: as the setting `retention_days` has it, archived
        sessions and named ones too. `over_quota`: the ones with the oldest activity, until the database takes no
        more than the setting `max_db_bytes` allows, by estimate. With each session go those of its sub-agents.
        Raises InvalidArgument.
        """
        now, settings = now_ms(), self._app.settings
        if not (project or before or source or expired or over_quota):
            raise InvalidArgument("Say which sessions: give project, before, source, expired or over_quota.")
        limits = []
        if (told := moment("before", before, at_ms(now))) is not None:
            limits.append(int(told.timestamp() * 1000))
        if expired:
            if settings.retention_days is None:
                raise InvalidArgument("retention_days is not set, so nothing expires. Set it, or give before.")
            limits.append(now - settings.retention_days * DAY_MS)
        over = None
        if over_quota:
            if settings.max_db_bytes is None:
                raise InvalidArgument("max_db_bytes is not set, so nothing is too much. Set it, as in 2GB.")
            over = max(await self.store.choices.used_bytes() - settings.max_db_bytes, 0)
        wanted = Wanted(
            projects=None if project is None else await self._projects_like(project),
            source=maybe_text(source),
            before=min(limits, default=None),
            over_bytes=over,
        )
        chosen = await self.store.choices.choose(self.user_id, wanted, with_sizes=True)
        return _preview(chosen, over, now if expired or over_quota else None)

    async def delete_sessions(
        self,
        preview: DeletionPreview,
        *,
        forks: Forks = "refuse",
        purge: bool = False,
        told: Callable[[int, int], None] | None = None,
    ) -> DeletionReceipt:
        """Delete what `preview_deletion` found, but for sessions that have gone on since.

        In short transactions, each of whole sessions: whoever writes does not wait, and what is broken off has
        deleted some of them and left the others as they were. `told` hears how many are through, and of how many.
        Raises Conflict before anything is deleted if forks are in the way.
        """
        one_of("forks", forks, get_args(Forks))
        flag("purge", purge)
        if preview.forks and forks == "refuse":
            shown = ", ".join(preview.forks[:5])
            raise Conflict(
                f"Some of these sessions have forks ({shown}) that share their messages. "
                'Pass forks="keep" to leave them whole, or forks="delete" to delete them too.'
            )
        store = self.store.choices
        purges = purge and not self._app.is_shared
        words = await store.rare_words(self.user_id, [one.key for one in preview.chosen]) if purges else []
        rows: Counter[str] = Counter()
        through = 0
        while through < preview.sessions:
            some = preview.chosen[through : through + AT_ONCE]
            buried = await store.bury(self.user_id, some, forks=forks, now=now_ms(), said_before=preview.said_before)
            through += buried.through
            rows.update(buried.rows)
            rows.update(await store.empty(buried.keys))
            if told is not None:
                told(through, preview.sessions)
        if rows:
            self._app.changed(self.user_id, "")
        gone = rows["sessions"]
        return DeletionReceipt(
            sessions=gone,
            left=max(preview.sessions - gone, 0),
            deleted={table: count for table, count in rows.items() if count},
            forks=forks,
            purge=await self._purge(words, "these sessions") if purges else self._pending(),
            not_reached=(*NOT_REACHED, *self.store.purging.copies),
        )

    @property
    def retention_days(self) -> int | None:
        """How long a session is kept after its last message; None for ever."""
        return self._app.settings.retention_days

    async def apply_retention(self, *, every_ms: int = DAY_MS) -> DeletionReceipt | None:
        """Delete what expired, forks kept whole; None where that is not to be done, or was within the last day."""
        days = self._app.settings.retention_days
        if days is None or not await self.store.choices.claim_retention(self.user_id, now_ms(), every_ms):
            return None
        return await self.delete_sessions(await self.preview_deletion(expired=True), forks="keep")

    async def _projects_like(self, patterns: str) -> tuple[str, ...]:
        try:
            wanted = globs(patterns)
        except ValueError as error:
            raise InvalidArgument(f"project is not valid: {error}.") from None
        if not wanted:
            raise InvalidArgument("project is empty. Give a folder or a glob, as in ~/work/widget or '*/secret'.")
        found = await self.store.choices.projects(self.user_id)
        return tuple(project for project in found if any(glob.matches(project) for glob in wanted))

    def _pending(self) -> str:
        return SHARED.pending if self._app.is_shared else self.store.purging.pending

    async def _purge(self, words: Sequence[str], whose: str) -> str:
        found = (purged := await self.store.purge(words)).found
        if found is None:
            return purged.told
        if not found:
            return f"purged: none of {len(words)} words that only {whose} held is in the file"
        return f"purged, but the file's bytes still hold {len(found)} of {len(words)} words"


def _preview(chosen: Sequence[Chosen], over: int | None, said_before: int | None) -> DeletionPreview:
    by_age = sorted(chosen, key=lambda one: (one.last_activity_at, one.number))
    first = tuple(
        DoomedSession(
            session=f"#{one.number}",
            title=one.title,
            project=one.project,
            source=one.source,
            runs=one.runs,
            messages=one.messages,
            size_bytes=one.size_bytes,
            last_activity_at=at_ms(one.last_activity_at),
        )
        for one in by_age[:SHOWN]
    )
    return DeletionPreview(
        sessions=len(chosen),
        runs=sum(one.runs for one in chosen),
        messages=sum(one.messages for one in chosen),
        size_bytes=sum(one.size_bytes for one in chosen),
        oldest=first[0].last_activity_at if first else None,
        newest=at_ms(by_age[-1].last_activity_at) if by_age else None,
        first=first,
        forks=tuple(f"#{number}" for number in sorted({fork for one in chosen for fork in one.forks})),
        over_quota_by=over,
        chosen=tuple(chosen),
        said_before=said_before,
    )
