"""What is told of a request that holds no message of the protocol's.

The SDK answers it with all that its parser says: pages, with the message quoted and the parser's version in them. Where
the body is not said to be JSON, or no answer is of a kind that the client takes, it answers with bare words or nothing.
"""

from .refusals import Refused, document
from .typing import App, Message, Receive, Scope, Send

_PARSERS_WORDS = b'"message":"Validation error: '
_NO_MESSAGE = Refused(
    400,
    "message",
    "This is no message of MCP. Send one JSON object with jsonrpc, method and params, and with an id where an answer "
    "is wanted; arrays of them are not taken.",
)
_BARE = {
    400: Refused(400, "media", "Send the message with Content-Type: application/json."),
    406: Refused(406, "media", "Send Accept: application/json, text/event-stream."),
}


def in_own_words(app: App) -> App:
    """`app`, the SDK's, with such answers put shortly. The others pass as they are."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        start: Message | None = None

        async def told(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and message["status"] in _BARE:
                start = message  # until it is known what comes with it: errors come whole
                return
            if start is not None:
                if (refused := _better(start, message.get("body", b""))) is not None:
                    kind, body = document(refused, rpc=True)
                    sized = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
                    start, message = {**start, "headers": sized}, {**message, "body": body}
                await send(start)
                start = None
            await send(message)

        await app(scope, receive, told)

    return served


def _better(start: Message, body: bytes) -> Refused | None:
    """What to tell instead, if anything."""
    if _PARSERS_WORDS in body:
        return _NO_MESSAGE
    typed = any(name.lower() == b"content-type" for name, _ in start.get("headers", ()))
    return None if typed else _BARE[start["status"]]
