"""Three shapes of messages come in; one comes out, and nothing of them is lost."""

from typing import Any

import pytest

from backscroll import Memory
from backscroll.errors import InvalidArgument
from backscroll.models import Message
from backscroll.recording import normalise
from builders import PNG, picture, picture_url, user


async def recorded(memory: Memory, messages: list[Any]) -> list[Message]:
    receipt = await memory.record_run(messages)
    assert await memory.store.check() == []
    return await memory.get_messages_for_session(receipt.session_id)


async def test_openai_chat(memory: Memory) -> None:
    told = await recorded(
        memory,
        [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture()], "name": "ada"},
            {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{ "at": 1 }'}},
                    {"id": "c2", "type": "custom", "custom": {"name": "shell", "input": "ls -l"}},
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "a dot"},
            {
                "role": "tool",
                "tool_call_id": "c2",
                "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}],
            },
            {"role": "assistant", "content": "A dot.", "reasoning_content": "Small."},
        ],
    )
    assert [m.role for m in told] == ["system", "user", "assistant", "tool", "tool", "assistant"]
    system, asked, called, first, second, answer = told
    assert (system.text, asked.text, asked.payload) == (
        "Be brief.",
        "What is this?",
        {"name": "ada", "parts": [{"text": 13}, {"media": 0}]},
    )
    assert [(m.mime_type, m.size_bytes) for m in asked.media] == [("image/png", len(PNG))]
    assert (await memory.get_media(asked.media[0].media_id)).data == PNG
    look, shell = called.tool_calls
    assert (look.tool_name, look.arguments, look.arguments_text) == ("look", {"at": 1}, '{ "at": 1 }')
    assert (shell.tool_name, shell.arguments) == ("shell", "ls -l")
    assert called.payload == {"calls": {"1": {"type": "custom"}}}
    assert (first.tool_call_id, first.tool_name, first.text) == ("c1", "look", "a dot")
    assert (second.text, second.payload) == ("one\ntwo", {"parts": [{"text": 3}, {"text": 3}]})
    assert (answer.text, answer.reasoning, answer.payload) == ("A dot.", "Small.", None)


async def test_anthropic_blocks(memory: Memory) -> None:
    png = picture_url().split(",")[1]
    told = await recorded(
        memory,
        [
            {"role": "user", "content": "Look at it."},
            {
                "role": "assistant",
                "id": "msg_1",
                "content": [
                    {"type": "thinking", "thinking": "Hm, let me see.", "signature": "c2lnbmVk"},
                    {"type": "redacted_thinking", "data": "c2VhbGVk"},
                    {"type": "text", "text": "Looking.", "citations": [{"url": "u"}]},
                    {"type": "tool_use", "id": "t1", "name": "look", "input": {"deep": {"er": [1, "é"]}}},
                ],
            },
            {
                "role": "user",
                "id": "msg_2",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t1",
                        "is_error": True,
                        "cache_control": {"type": "ephemeral"},
                        "content": [
                            {"type": "text", "text": "broken"},
                            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": png}},
                        ],
                    },
                    {"type": "text", "text": "Try again."},
                ],
            },
        ],
    )
    assert [m.role for m in told] == ["user", "assistant", "tool", "user"]
    _, called, answered, asked = told
    assert (called.text, called.reasoning) == ("Looking.", "Hm, let me see.")
    assert called.payload == {
        "id": "msg_1",
        "parts": [
            {"thinking": 15, "signature": "c2lnbmVk"},
            {"type": "redacted_thinking", "data": "c2VhbGVk"},
            {"text": 8, "citations": [{"url": "u"}]},
            {"tool_call": 0},
        ],
    }
    assert called.tool_calls[0].arguments_text == '{"deep":{"er":[1,"é"]}}'
    assert (answered.text, answered.is_error, answered.tool_name) == ("broken", True, "look")
    assert answered.payload == {"cache_control": {"type": "ephemeral"}, "parts": [{"text": 6}, {"media": 0}]}
    assert (await memory.get_media(answered.media[0].media_id)).data == PNG
    assert (asked.text, asked.payload) == ("Try again.", {"id": "msg_2"})
    (call,) = (await memory.get_tool_call_history()).tool_calls
    assert (call.status, call.result) == ("error", "broken")


async def test_openai_responses(memory: Memory) -> None:
    told = await recorded(
        memory,
        [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Which files?"}]},
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "List them."}],
                "encrypted_content": "c2VhbGVk",
            },
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "ls", "arguments": '{"p":"."}'},
            {"type": "function_call_output", "call_id": "c1", "output": "notes.txt"},
            {"type": "local_shell_call", "call_id": "c2", "action": {"type": "exec", "command": ["pwd"]}},
            {"type": "local_shell_call_output", "call_id": "c2", "output": "/work"},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {
                "type": "message",
                "role": "assistant",
                "id": "msg_1",
                "content": [{"type": "output_text", "text": "One file.", "annotations": [{"k": 1}]}],
            },
        ],
    )
    assert [m.role for m in told] == ["user", "assistant", "tool", "assistant", "tool", "assistant", "assistant"]
    assert (told[1].reasoning, told[1].tool_calls[0].tool_name) == ("List them.", "ls")
    assert told[1].payload == {"id": "fc_1", "reasoning_items": [{"id": "rs_1", "encrypted_content": "c2VhbGVk"}]}
    assert (told[2].text, told[2].tool_name, told[2].payload) == ("notes.txt", "ls", None)
    assert (told[3].tool_calls[0].tool_name, told[4].tool_name) == ("local_shell", "local_shell")
    assert told[5].payload == {"item": {"type": "web_search_call", "id": "ws_1", "status": "completed"}}
    assert told[6].payload == {"id": "msg_1", "parts": [{"text": 9, "annotations": [{"k": 1}]}]}


@pytest.mark.parametrize(
    ("part", "kind", "rest"),
    [
        ({"type": "image_url", "image_url": {"url": picture_url(), "detail": "high"}}, "image/png", {"detail": "high"}),
        ({"type": "input_image", "image_url": picture_url()}, "image/png", {}),
        (
            {"type": "input_audio", "input_audio": {"data": "AAEC", "format": "wav"}},
            "audio/wav",
            {},
        ),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAEC"}},
            "application/pdf",
            {"name": "a.pdf"},
        ),
        ({"type": "image", "data": "AAEC", "mimeType": "image/gif"}, "image/gif", {}),
        (
            {
                "type": "document",
                "title": "T",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "AAEC"},
            },
            "application/pdf",
            {"name": "T"},
        ),
    ],
)
async def test_media_in_every_shape(memory: Memory, part: dict[str, Any], kind: str, rest: dict[str, Any]) -> None:
    (told,) = await recorded(memory, [{"role": "user", "content": [part]}])
    assert [m.mime_type for m in told.media] == [kind]
    assert (told.payload or {"parts": [{"media": 0}]}) == {"parts": [{"media": 0, **rest}]}
    assert (await memory.get_media(told.media[0].media_id)).data in (PNG, b"\0\1\2")


async def test_media_that_were_given_by_url_stay_there(memory: Memory) -> None:
    (told,) = await recorded(
        memory, [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.test/p.png"}}]}]
    )
    assert (told.media[0].uri, told.media[0].size_bytes) == ("https://a.test/p.png", 0)
    kept = await memory.get_media(told.media[0].media_id)
    assert (kept.data, kept.url) == (None, "https://a.test/p.png")


async def test_agnos_media_beside_the_content(memory: Memory) -> None:
    (told,) = await recorded(
        memory, [user("see", images=[{"url": "https://a.test/1.png"}, {"content": "AAEC", "mime_type": "image/png"}])]
    )
    assert [m.size_bytes for m in told.media] == [0, 3]
    assert told.payload is None


async def test_what_cannot_be_placed_is_kept_as_payload(memory: Memory) -> None:
    odd = {"type": "hologram", "depth": [1, {"x": None}]}
    (told,) = await recorded(
        memory,
        [{"role": "user", "content": [odd, {"type": "text", "text": "hi"}], "extra": {"a": 1}, "tool_call_id": "x"}],
    )
    assert told.payload == {"extra": {"a": 1}, "tool_call_id": "x", "parts": [odd, {"text": 2}]}


async def test_an_undecodable_picture_is_kept_as_it_came(memory: Memory) -> None:
    broken = {"type": "image_url", "image_url": {"url": "data:image/png;base64,***"}}
    (told,) = await recorded(memory, [{"role": "user", "content": [broken]}])
    assert (told.media, told.payload) == ((), {"parts": [broken]})


async def test_calls_of_anyone_but_the_assistant_are_kept_as_payload(memory: Memory) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    (told,) = await recorded(memory, [user("hi", tool_calls=[call])])
    assert told.tool_calls == ()
    assert told.payload is not None
    assert told.payload["tool_calls"] == [{"tool_call_id": "c", "tool_name": "f", "arguments": "{}"}]


async def test_results_in_a_users_message_share_its_marks(memory: Memory) -> None:
    block = {"type": "tool_result", "tool_use_id": "t", "content": "old"}
    receipt = await memory.record_run(
        [{"role": "user", "content": [block], "from_history": True}, user("new", created_at="2026-01-02T03:04:05Z")]
    )
    assert (receipt.history, receipt.recorded) == (1, 1)


async def test_calls_without_ids_are_answered_in_their_order(memory: Memory) -> None:
    calls = [{"function": {"name": name, "arguments": "{}"}} for name in ("first", "second")]
    told = await recorded(
        memory,
        [
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "content": "1"},
            {"role": "tool", "content": "2"},
        ],
    )
    assert [m.tool_name for m in told[1:]] == ["first", "second"]
    assert {c.result for c in (await memory.get_tool_call_history()).tool_calls} == {"1", "2"}


@pytest.mark.parametrize(
    ("messages", "place"),
    [
        ([user(), {"role": "function", "content": "x"}], r"messages\[1\] has role 'function'"),
        ([{"role": "bot", "content": "x"}], r"messages\[0\] has role 'bot'"),
        ([{"role": None, "content": "x"}], r"messages\[0\] has role None"),
        ([{"role": ["user"], "content": "x"}], r"messages\[0\] has role"),
        ([{"content": "x"}], r"messages\[0\] has no role"),
        ([user(), 7], r"messages\[1\] must be an object .* not a number"),
        ([{"role": "user", "content": 7}], r"messages\[0\]\.content must be text or a list of parts"),
        ([{"role": "user", "content": [7]}], r"messages\[0\]\.content\[0\]"),
        ([{"role": "assistant", "tool_calls": {"a": 1}}], r"messages\[0\]\.tool_calls must be a list"),
        ([{"role": "assistant", "tool_calls": [{"id": "c"}]}], r"messages\[0\]\.tool_calls\[0\] has no function name"),
        ([{"type": "function_call", "call_id": "c"}], r"messages\[0\] is a function_call without a name"),
        ([user("x", created_at="tomorrow")], r"messages\[0\]\.created_at must be an ISO 8601 time"),
        ([user("x", created_at=10**30)], r"messages\[0\]\.created_at"),
        ([user("x", created_at=float("nan"))], r"messages\[0\]\.created_at"),
        ("hi", "messages must be a list"),
        ({"role": "user"}, "messages must be a list"),
        (None, "messages must be a list"),
    ],
)
async def test_what_cannot_be_read_is_refused_with_its_place(memory: Memory, messages: Any, place: str) -> None:
    with pytest.raises(InvalidArgument, match=place):
        await memory.record_run(messages, session_id="s")
    assert (await memory.list_sessions()).total == 0


def test_reading_leaves_the_callers_objects_alone() -> None:
    import copy

    sent: list[Any] = [
        {"role": "user", "content": [{"type": "text", "text": "a\0b"}, picture()], "images": [{"content": "AAEC"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"a": [1]}}}]},
    ]
    before = copy.deepcopy(sent)
    normalise(sent)
    assert sent == before
