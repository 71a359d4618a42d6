"""English words that say how a question is meant. Other languages go without: there the terms alone decide."""

import re
from typing import Literal

Wants = Literal["time", "number", "place", "name", "title"]

_FRAME = """
    a about after again against all also am an and any are as at be because been before being below between both but
    by can cannot could d did didn do does doesn doing don done down during each ever few for from further get got had
    hadn has hasn have haven having he her here hers herself him himself his how i if in into is isn it its itself just
    let ll m me might more most must my myself no nor not now of off on once only or other our ours ourselves out over
    own please re same she should shouldn so some such t than that the their theirs them themselves then there these
    they this those through to too under until up us ve very was wasn we were weren what when where which while who
    whom whose why will with would wouldn couldn you your yours yourself yourselves
"""
STOP_WORDS = frozenset(_FRAME.split())
"""Words that a question is built of. They are looked for only where it holds no others."""

_OF_DAYS = """
    chat chatted discuss discussed happen happened happens last leave left on session sessions since summarize summary
    talk talked talking work worked working
"""
ASKED_OF_DAYS = frozenset(_OF_DAYS.split())
"""Words of a question that asks for a time as a whole: "what did we work on yesterday?"."""

_OPENINGS = """
    what when where which who whom whose why how did do does is are was were has have had can could should would will
    may might tell show find list remind whats
"""
OPENINGS = frozenset(_OPENINGS.split())
"""Words that a sentence addressed to a memory begins with."""

SELF = frozenset(("i", "me", "my", "mine", "myself"))
YOU = frozenset(("you", "your", "yours", "agent", "assistant"))

ANSWERED_BY: dict[Wants, re.Pattern[str]] = {
    "time": re.compile(
        r"^\W*(?:when|since when|until when)\b|\b(?:what|which) (?:date|day|month|year|time)\b", re.IGNORECASE
    ),
    "number": re.compile(
        r"\bhow (?:many|much|long|often|old|far|big|large)\b|\b(?:what|which) (?:number|port)\b", re.IGNORECASE
    ),
    "place": re.compile(
        r"^\W*where\b|\b(?:what|which) (?:country|city|town|state|place|folder|directory|path)\b", re.IGNORECASE
    ),
    "name": re.compile(r"^\W*(?:what|which|who|where)\b", re.IGNORECASE),
    "title": re.compile(
        r"\b(?:books?|movies?|films?|songs?|games?|called|names?|named|titled?|series|(?<!^)shows?)\b", re.IGNORECASE
    ),
}
"""What a question wants to hear, by how it is put."""

TIMES = re.compile(
    r"\b(?:yesterday|today|tonight|tomorrow|last|ago|next|weeks?|weekend|months?|years?|days|recently|since|just|soon"
    r"|mon|tues|wednes|thurs|fri|satur|sun)(?:day)?\b|\b(?:january|february|march|april|may|june|july|august"
    r"|september|october|november|december|christmas|summer|winter|spring|fall|autumn)\b|\b\d{4}\b",
    re.I,
)
NUMBERS = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|couple|few|several|dozen|both|twice|once|many)\b", re.I
)
PLACES = re.compile(r"\b(?:at|in|from|to|near) [A-Z]|/\w")
NAMES = re.compile(r'(?<=[a-z,] )[A-Z][a-z]+|"[^"]+"')
FIRST_PERSON = re.compile(r"\b(?:i|i'm|i've|my|me|we|our)\b", re.I)
REACTION = re.compile(
    r"\W*(?:wow|thanks|thank|that's|that sounds|sounds|congrat\w*|aw+|awesome|great|cool|nice|yeah|yep|yes|hey|hi|ok"
    r"|okay)\b",
    re.I,
)
"""How a line begins that answers to another one and adds little."""
