"""What a summary is before it is stored, and what makes one."""

import re
from typing import Annotated, Protocol

from pydantic import AfterValidator

from ..models import Value

EXTRACTIVE = "extractive"

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def _printable(text: str) -> str:
    # Not U+FFFD, which would take more bytes than what it replaces, and summaries are bounded.
    return _UNPRINTABLE.sub("?", text)


# A summary is derived, so that no byte of it needs keeping; a model can answer with lone surrogates.
Text = Annotated[str, AfterValidator(_printable)]


class SummaryDraft(Value):
    """A summary not yet stored. `made_by` is `extractive` or the model's name."""

    summary: Text
    topics: tuple[Text, ...] = ()
    made_by: str


class SummaryModel(Protocol):
    """A language model that can be asked for a summary; `OpenAICompatibleModel` is one."""

    name: str

    async def complete(self, prompt: str, conversation: str) -> str:
        """The model's answer to `prompt` (instructions) about `conversation` (a record).

        Raises SummaryError when it cannot be asked.
        """
        ...
