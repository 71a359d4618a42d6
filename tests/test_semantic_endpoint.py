"""Vectors from an OpenAI-compatible endpoint: what is sent, what is taken, and what is said when it fails."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import numpy as np
import pytest

from backscroll import Backscroll
from backscroll.config import Settings
from backscroll.errors import EmbeddingError
from backscroll.semantic import Embedder, load_embedder
from backscroll.tokens import TokenCounter
from builders import user

KEY = "sk-hunter2"
SAID = "my password is hunter2"


class Sent(NamedTuple):
    path: str
    authorization: str | None
    body: dict[str, Any]


def by_length(text: str) -> list[float]:
    """A model of its own kind: texts of one length mean the same."""
    return [float(len(text) % 7 == n) * 2 for n in range(7)]


def answered(body: dict[str, Any]) -> tuple[int, bytes]:
    data = [{"index": n, "embedding": by_length(text)} for n, text in enumerate(body["input"])]
    # In no order: the index counts.
    return 200, json.dumps({"object": "list", "data": data[::-1]}).encode()


class Endpoint(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Callable[[dict[str, Any]], tuple[int, bytes] | None] = answered
        self.sent: list[Sent] = []
        self.asked = threading.Event()
        self.hung_up = threading.Event()
        """Somebody who got no answer waits for none any more."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def settings(self, **more: Any) -> Settings:
        given = {"semantic_base_url": self.base_url, "semantic_model": "tiny", "semantic_api_key": KEY}
        return Settings.model_validate({**given, **more})


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.sent.append(Sent(self.path, self.headers["Authorization"], body))
        answer = self.server.answer(body)
        if answer is None:
            self.server.asked.set()
            self.connection.recv(1)
            self.server.hung_up.set()
            return
        status, content = answer
        # Who was kept waiting may have left.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.send_response_only(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("NO_PROXY", "*")
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
async def embedder(endpoint: Endpoint) -> AsyncIterator[Embedder]:
    made = await load_embedder(endpoint.settings())
    endpoint.sent.clear()
    yield made
    await made.close()


@pytest.fixture
async def app(url: str, endpoint: Endpoint, tokens: TokenCounter) -> AsyncIterator[Backscroll]:
    async with Backscroll(url, endpoint.settings()) as opened:
        yield opened


async def test_texts_are_sent_with_model_and_key_and_come_back_in_their_order(
    endpoint: Endpoint, embedder: Embedder
) -> None:
    rows = await embedder.embed(["a", "bbb", "cc"])
    assert rows.argmax(axis=1).tolist() == [1, 3, 2]
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1, 1])
    (sent,) = endpoint.sent
    assert (sent.path, sent.authorization) == ("/v1/embeddings", f"Bearer {KEY}")
    assert sent.body == {"model": "tiny", "input": ["a", "bbb", "cc"], "encoding_format": "float"}


async def test_many_texts_are_sent_in_several_requests(endpoint: Endpoint, embedder: Embedder) -> None:
    rows = await embedder.embed(["x" * (n % 5 + 1) for n in range(150)])
    assert [len(sent.body["input"]) for sent in endpoint.sent] == [64, 64, 22]
    assert rows.argmax(axis=1).tolist() == [n % 5 + 1 for n in range(150)]


async def test_another_model_or_endpoint_has_another_name(endpoint: Endpoint, embedder: Embedder) -> None:
    assert embedder.name == f"tiny@{endpoint.base_url}/embeddings/7"
    settings = endpoint.settings(semantic_model="other", semantic_base_url=f"{endpoint.base_url}?key={KEY}")
    other = await load_embedder(settings)
    assert other.name == f"other@{endpoint.base_url}/embeddings/7"
    await other.close()


async def test_no_key_sends_none(endpoint: Endpoint) -> None:
    made = await load_embedder(endpoint.settings(semantic_api_key=None))
    await made.close()
    assert endpoint.sent[0].authorization is None


async def test_messages_are_found_by_the_endpoints_vectors(app: Backscroll, endpoint: Endpoint) -> None:
    await app.memory("ada").record_run([user("a" * 10), user("b" * 11), user("c" * 12)])
    assert app.semantic is not None
    await app.semantic.catch_up()
    vector = await app.semantic.question("z" * 11, [("weights", 1.0)])
    assert vector is not None
    assert endpoint.sent[-1].body["input"] == ["z" * 11]
    assert [near.message_key for near in await app.semantic.nearest("ada", vector, limit=1)] == [2]
    progress = await app.store.vectors.progress()
    assert progress is not None
    assert progress.model == f"tiny@{endpoint.base_url}/embeddings/7"


async def test_texts_that_were_found_are_not_sent_again(app: Backscroll, endpoint: Endpoint) -> None:
    assert app.semantic is not None
    assert SAID not in str(endpoint.sent)


async def test_a_question_that_fails_is_not_asked_again_at_once(app: Backscroll, endpoint: Endpoint) -> None:
    assert app.semantic is not None
    assert await app.semantic.question("abc") is not None
    asked = len(endpoint.sent)
    endpoint.answer = lambda body: (500, b"")
    assert await app.semantic.question("abc") is None
    endpoint.answer = answered
    assert await app.semantic.question("abc") is None
    assert len(endpoint.sent) == asked + 1


@pytest.mark.parametrize(
    ("status", "content", "hint"),
    [
        (401, b"{}", "BACKSCROLL_SEMANTIC_API_KEY"),
        (404, b"{}", "BACKSCROLL_SEMANTIC_BASE_URL"),
        (400, b"{}", "BACKSCROLL_SEMANTIC_MODEL"),
        (503, f"{KEY} {SAID}".encode(), "status 503"),
        (200, b"<html>", "something other than embeddings"),
        (200, b"[]", "something other than embeddings"),
        (200, b'{"data": []}', "something other than embeddings"),
        (200, b'{"data": [{"index": 0, "embedding": []}]}', "something other than embeddings"),
        (200, b'{"data": [{"index": 0, "embedding": [NaN]}]}', "something other than embeddings"),
        (200, b'{"data": [{"index": 0, "embedding": ["x"]}]}', "something other than embeddings"),
        (200, b'{"data": [{"index": 0, "embedding": [[1], [2]]}]}', "something other than embeddings"),
        (200, b'{"data": [{"index": 0, "embedding": [1, 2]}]}', "another size"),
    ],
)
async def test_a_failure_says_what_to_do_and_nothing_of_key_or_text(
    endpoint: Endpoint, embedder: Embedder, status: int, content: bytes, hint: str
) -> None:
    endpoint.answer = lambda body: (status, content)
    with pytest.raises(EmbeddingError, match=hint) as caught:
        await embedder.embed([SAID])
    assert KEY not in str(caught.value)
    assert SAID not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "hint"),
    [
        ({"semantic_base_url": "http://127.0.0.1:9/v1"}, "cannot be reached"),
        ({"semantic_base_url": "http://127.0.0.1:99999999/v1"}, "BACKSCROLL_SEMANTIC_BASE_URL"),
        ({"semantic_base_url": "nonsense"}, "BACKSCROLL_SEMANTIC_BASE_URL"),
        ({"semantic_api_key": "sk-\u00e4\n"}, "BACKSCROLL_SEMANTIC_API_KEY"),
    ],
)
async def test_an_endpoint_that_cannot_be_asked_says_which_setting(
    endpoint: Endpoint, more: dict[str, Any], hint: str
) -> None:
    with pytest.raises(EmbeddingError, match=hint) as caught:
        await load_embedder(endpoint.settings(**more))
    assert "\u00e4" not in str(caught.value)


# One that does not answer


def silent(body: dict[str, Any]) -> None:
    """Until whoever asked hangs up."""


async def test_an_endpoint_that_does_not_answer_is_given_up(endpoint: Endpoint) -> None:
    endpoint.answer = silent
    with pytest.raises(EmbeddingError, match="did not answer within"):
        await load_embedder(endpoint.settings(semantic_timeout_s=0.2))
    assert endpoint.hung_up.wait(5)


async def test_a_question_that_is_given_up_is_asked_no_longer(endpoint: Endpoint, embedder: Embedder) -> None:
    endpoint.answer = silent
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await embedder.embed_question("abc", [])
    assert await asyncio.to_thread(endpoint.hung_up.wait, 5)


@pytest.mark.parametrize("while_loading", [True, False])
def test_a_process_ends_while_a_question_waits_for_an_endpoint(
    url: str, endpoint: Endpoint, tokens: TokenCounter, while_loading: bool
) -> None:
    async def ask_and_leave() -> bool:
        async with Backscroll(url, endpoint.settings()) as app:
            assert app.semantic is not None
            if not while_loading:
                await app.semantic.embedder()
            endpoint.answer = silent
            asking = asyncio.create_task(app.semantic.question("abc"))
            assert await asyncio.to_thread(endpoint.asked.wait, 5)
        return await asking is None

    started = time.monotonic()
    assert asyncio.run(ask_and_leave())
    assert endpoint.hung_up.wait(5)
    # Neither the 3 s of a question nor the 30 s of a request.
    assert time.monotonic() - started < 2.5


async def test_what_is_asked_after_closing_fails(endpoint: Endpoint, embedder: Embedder) -> None:
    await embedder.close()
    with pytest.raises(EmbeddingError, match="asked no more"):
        await embedder.embed([SAID])
