"""The commands that change what is stored: summarize and delete."""

import sys
from typing import get_args

import click

from ..answers import DeleteReceipt
from ..errors import InvalidArgument
from ..memory import Forks, Memory
from ..models import Session
from ..recall.reading import handle
from ..render import plural
from ..terminal import line, notes, put_json, results, safe
from .endings import FAILED, examples, for_people
from .opening import Chosen, as_json, chosen, session_ref, store_options


@click.command(
    epilog=examples(
        "backscroll summarize '#12'",
        "backscroll summarize '#12' --summary 'Fixed the login test: the clock was frozen.' --topic testing",
        "backscroll summarize '#12' --summary - < summary.txt",
    )
)
@click.argument("session")
@click.option("--summary", metavar="TEXT", help="Store this text; - reads standard input. Default: have one made.")
@click.option("--topic", "topics", multiple=True, metavar="T", help="With --summary: a topic; may be given again.")
@as_json
@store_options
@chosen
def summarize(chosen: Chosen, session: str, *, summary: str | None, topics: tuple[str, ...], as_json: bool) -> None:
    """Store a summary of a session, or have one made.

    Without --summary the configured model makes it; where none is configured, it is put together from the
    session's own sentences, and nothing leaves this machine.
    """
    if topics and summary is None:
        raise click.UsageError("--topic goes with --summary.")
    text = sys.stdin.read() if summary == "-" else summary

    async def summarized(memory: Memory) -> None:
        ref = await session_ref(memory, session)
        receipt = await memory.summarize_session(ref, summary=text, topics=topics or None)
        made = receipt.summary
        if as_json:
            put_json(receipt.model_dump(mode="json", exclude_none=True))
            return
        results().print(safe(made.summary))
        if made.topics:
            results().print(f"Topics: {', '.join(map(line, made.topics))}")
        told = f"Session {receipt.session}: summary {made.version}, made by {line(made.made_by)}."
        notes().print(told, style="dim")

    chosen.with_memory(summarized)


@click.command(
    epilog=examples(
        "backscroll delete '#12'",
        "backscroll delete '#12' --purge",
        "backscroll delete '#12' --forks keep --yes",
    )
)
@click.argument("session")
@click.option(
    "--forks",
    type=click.Choice(get_args(Forks)),
    default="refuse",
    help="Its forks: refuse to delete (the default), keep them whole, or delete them too.",
)
@click.option("--purge", is_flag=True, help="Also rewrite the file, so that none of its pages holds the session.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@as_json
@store_options
@chosen
def delete(chosen: Chosen, session: str, *, forks: Forks, purge: bool, yes: bool, as_json: bool) -> None:
    """Delete a session for good, after asking.

    The receipt counts what is gone and names the copies that Backscroll cannot reach. No import brings the
    session back, unless it is told to with --restore.
    """

    async def looked_up(memory: Memory) -> Session:
        ref = await session_ref(memory, session)
        if handle(ref)[1] is not None:
            raise InvalidArgument(f"{ref} names a message. Only a session can be deleted: {handle(ref)[0]}.")
        return await memory.get_session(ref)

    async def deleted(memory: Memory) -> DeleteReceipt:
        return await memory.delete_session(found.session, forks=forks, purge=purge)

    found = chosen.with_memory(looked_up)
    # Asked between the two, with nothing open: a person may take an hour, or press Ctrl-C.
    if not yes and not _agreed(f"Delete session {_described(found)}?"):
        notes().print("Not deleted.")
        raise click.exceptions.Exit(FAILED)
    receipt = chosen.with_memory(deleted)
    if as_json:
        put_json(receipt.model_dump(mode="json"))
        return
    rows = ", ".join(f"{count:,} {table.replace('_', ' ')}" for table, count in receipt.deleted.items())
    told = for_people(receipt.purge)
    out = results()
    out.print(f"Deleted session {receipt.session}: {rows}.")
    out.print(f"{told[:1].upper()}{told[1:]}.")
    out.print(f"Not reached: {'; '.join(receipt.not_reached)}.")


def _described(session: Session) -> str:
    counts = f"{plural(session.runs, 'run')}, {plural(session.messages, 'message')}"
    return f'{session.session} "{line(session.shown_title)}" ({counts}, from {line(session.source)})'


def _agreed(question: str) -> bool:
    """Whether the person says yes. Raises InvalidArgument where nobody is there to say anything."""
    click.echo(f"{question} [y/N] ", nl=False, err=True)
    answer = sys.stdin.readline()
    if not answer:
        click.echo(err=True)
        raise InvalidArgument("Nobody answered, so nothing was deleted. Give --yes to delete without asking.")
    return answer.strip().lower() in ("y", "yes")
