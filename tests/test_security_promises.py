"""SECURITY.md: each promise names tests that there are, and those that no other test shows are shown here."""

import re
from pathlib import Path

import pytest

import backscroll
from backscroll.config import Settings
from builders import a_turn
from http_doors import call_of, folders, run, the_http_server, token_for
from mcp_doors import ROOT

PAGE = (ROOT / "SECURITY.md").read_text("utf-8")
PROMISED = [
    promise
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    if not section.startswith("Not promised")
    for promise in re.split(r"^- ", section, flags=re.MULTILINE)[1:]
]


def test_each_promise_names_the_tests_that_show_it() -> None:
    assert len(PROMISED) > 10
    for promise in PROMISED:
        comments = re.findall(r"<!-- (.*?) -->", promise, flags=re.DOTALL)
        assert len(comments) == 1, promise
        for named in comments[0].split():
            file, _, test = named.partition("::")
            source = (ROOT / "tests" / file).read_text("utf-8")
            assert f"def {test or 'test_'}" in source, named


async def test_stats_tells_where_text_goes(database: Path) -> None:
    assert "leaves this machine  nothing" in await run("stats", "--db", str(database))
    env = {"BACKSCROLL_SUMMARY_BASE_URL": "https://models.example/v1", "BACKSCROLL_SUMMARY_MODEL": "m"}
    told = await run("stats", "--db", str(database), env=env)
    assert "models.example" in told and "leaves this machine  nothing" not in told


async def test_a_restored_backup_knows_the_tokens_of_its_time(tmp_path: Path) -> None:
    """Not promised otherwise, and said so; here so that it stays true."""
    database, copy, env = tmp_path / "sessions.db", tmp_path / "copy.db", folders(tmp_path)
    token, token_id = await token_for(database, "ada", "read", **env)
    await run("backup", str(copy), "--db", str(database), env=env)
    await run("token", "revoke", "--db", str(database), token_id, env=env)
    for file, status in ((database, 401), (copy, 200)):
        async with the_http_server(file, env=env) as server:
            assert (await server.post(call_of("list_sessions"), token=token)).status_code == status


async def _order(memory: backscroll.Memory) -> list[str | None]:
    page = await memory.search_session_history("walrus heron", format="json")
    found = [hit.session_id for hit in page.hits or ()]
    assert set(found) == {"walrus", "heron"}
    return found


@pytest.mark.parametrize("common", ["walrus", "heron"])
async def test_on_postgres_other_users_words_do_not_move_a_ranking(postgres_url: str, common: str) -> None:
    async with backscroll.Backscroll(postgres_url, Settings(semantic="off")) as app:
        bob = app.memory("bob")
        for word in ("walrus", "heron"):
            await bob.record_run(a_turn(f"I saw a {word} today.", "Good."), session_id=word)
        before = await _order(bob)
        for number in range(40):
            await app.memory("ada").record_run(a_turn(f"{common} number {number}", "Yes."), session_id=f"s{number}")
        assert await _order(bob) == before


async def test_a_purge_over_http_tells_nothing_of_what_others_said(tmp_path: Path) -> None:
    """How often a deleted word is left in the file would tell whether anybody else said it."""
    database, env = tmp_path / "sessions.db", folders(tmp_path)
    ada, _ = await token_for(database, "ada", "read,write,delete", **env)
    bob, _ = await token_for(database, "bob", "read,write,delete", **env)
    receipts = []
    async with the_http_server(database, env=env) as server:
        await server.post(
            call_of("record_run", messages=a_turn("a word: quetzalcoatlus"), session_id="hers"), token=ada
        )
        for guess in ("quetzalcoatlus", "pterodactylus"):
            messages = a_turn(f"a word: {guess}", "Heard.")
            await server.post(call_of("record_run", messages=messages, session_id=guess), token=bob)
            answer = await server.post(call_of("delete_session", session_id=guess, purge=True), token=bob)
            receipts.append(answer.json()["result"]["structuredContent"]["purge"])
    assert receipts[0] == receipts[1]
    assert receipts[0].startswith("purge pending") and "operator" in receipts[0]
