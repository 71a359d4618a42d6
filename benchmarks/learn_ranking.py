"""`python -m benchmarks.learn_ranking PATH`: learn the weights of the second stage and write ranking/weights.py.

PATH is as `benchmarks.locomo` takes it. What it teaches is written down with the weights; what the weights are worth
is for `benchmarks.locomo` to say, on conversations that did not teach them.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from backscroll import Backscroll, Settings
from backscroll.ranking import weights as shipped

from .learning import learned
from .locomo import Conversation, Loaded, lessons, read_conversations, record

TEMPLATE = '''"""What each feature counts. Learned, not chosen: `python -m benchmarks.learn_ranking` writes this file.

From {questions:,} questions about {conversations} conversations of LoCoMo (Maharana et al., 2024), of which nothing but
these numbers is kept. A weight counts for one unit of its feature, so their sizes do not compare.
"""

LEARNED_ON: tuple[str, ...] = (
{learned_on}
)
"""The first figures of the SHA-256 of each file, so that a benchmark can tell what it must not be measured on."""

LEXICAL_WEIGHTS: dict[str, float] = {{
{lexical}
}}

SEMANTIC_WEIGHTS: dict[str, float] = {{
{semantic}
}}
"""With vectors: the same features, and two of similarity."""
'''


async def learn(conversations: Sequence[Conversation], folder: Path, semantic: str) -> dict[str, float]:
    """Without the extra, "auto" learns as "off" does, and is refused."""
    found = []
    for conversation in conversations:
        async with Backscroll(str(folder / f"{semantic}-{conversation.name}.db"), Settings(semantic=semantic)) as app:
            if semantic != "off" and app.semantic is None:
                raise SystemExit("Install the extra `semantic` first: its weights are learned too.")
            loaded = Loaded(conversation, app)
            await record(loaded)
            found += await lessons(loaded)
    return learned(found)


def written(conversations: Sequence[Conversation], lexical: dict[str, float], semantic: dict[str, float]) -> str:
    def lines(weights: dict[str, float]) -> str:
        return "\n".join(f'    "{name}": {weight},' for name, weight in weights.items())

    return TEMPLATE.format(
        questions=sum(len(conversation.questions) for conversation in conversations),
        conversations=len(conversations),
        learned_on="\n".join(f'    "{conversation.digest}",' for conversation in conversations),
        lexical=lines(lexical),
        semantic=lines(semantic),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learn_ranking", description="Learn the weights.")
    parser.add_argument("path", type=Path, help="a LoCoMo-shaped .json file, or a folder of them")
    asked = parser.parse_args()
    conversations = read_conversations(asked.path)
    with tempfile.TemporaryDirectory(prefix="backscroll-bench-") as folder:
        lexical = asyncio.run(learn(conversations, Path(folder), "off"))
        semantic = asyncio.run(learn(conversations, Path(folder), "auto"))
    Path(shipped.__file__).write_text(written(conversations, lexical, semantic), encoding="utf-8")


if __name__ == "__main__":
    main()
