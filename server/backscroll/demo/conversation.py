"""The conversation that ships with Backscroll (`data/demo.jsonl`): invented talk, dated back from today."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parents[1] / "data" / "demo.jsonl"


def conversation(today: datetime) -> list[dict[str, Any]]:
    """The arguments of one `record_run` a run, oldest first.

    A line of the file says how many days ago its run began and at what time, and each message how many
    seconds after that; here they become ISO times.
    """
    return [_dated(json.loads(line), today) for line in _FILE.read_text(encoding="utf-8").splitlines()]


def _dated(run: dict[str, Any], today: datetime) -> dict[str, Any]:
    clock = datetime.strptime(run.pop("clock"), "%H:%M").time()
    began = datetime.combine((today - timedelta(days=run.pop("days_ago"))).date(), clock).astimezone()
    messages = [
        {**message, "created_at": (began + timedelta(seconds=message.pop("after_s"))).isoformat()}
        for message in run["messages"]
    ]
    return {
        **run,
        "messages": messages,
        "started_at": began.isoformat(),
        "ended_at": messages[-1]["created_at"],
    }
