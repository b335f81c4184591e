"""What a model that plays the user must not say: thanks alone, what an assistant says, what was said.

Sentences and the parts between commas are looked at one by one: "Great, thanks for the help!" asks for
nothing, "Thanks, and at night?" does. The words are those of English; in other languages repeats alone
are seen.
"""

from collections.abc import Sequence

import regex

from curate.core.rows import Message
from curate.generate.candidates import RejectReason
from curate.generate.novelty import RougeIndex

# The limit of Self-Instruct (curate.generate.novelty).
NEAR = 0.7
PART = regex.compile(r"[.!,;:\n]+|\s[-\u2013\u2014]\s")
COURTESY = regex.compile(
    r"(?:many |ok(?:ay)?,? |great,? )?thank(?:s| you)(?: again| (?:so |very )?much| a lot)*(?: for .*)?"
    r"|(?:i )?(?:really |truly )?appreciate (?:it|this|that|your (?:help|time|answer))"
    r"|(?:great|perfect|awesome|amazing|wonderful|excellent|cool|nice|good|ok|okay|yes|sure|alright)"
    r"|(?:i see|got it|understood|i understand(?: it)?(?: now)?|makes sense|that makes sense)"
    r"|(?:that|this|it)(?:['\u2019]s| is| was) (?:(?:very|really|so|all) )?"
    r"(?:helpful|great|good|perfect|clear|interesting|useful|all)"
    r"|that (?:really )?helps(?: a lot| me)?|you(?:['\u2019]re| are) welcome"
    r"|(?:good)?bye(?: bye)?|see you(?: later| soon)?|have a (?:nice|good|great|lovely) day"
    r"|no (?:more|further) questions(?: for now)?",
    regex.I,
)
ASSISTANT = regex.compile(
    r"^\W*(?:assistant:|(?:sure|certainly|of course)[,!:] (?:here|i)\b|here (?:is|are) )"
    r"|\b(?:how (?:can|may) i (?:help|assist)|is there anything else (?:that )?i can"
    r"|let me know if you (?:have|need)|i(?:['\u2019]d| would) be happy to (?:help|assist))",
    regex.I,
)


def find_user_fault(text: str, talk: Sequence[Message]) -> tuple[RejectReason, str] | None:
    """Return why a user's message does not take a talk further, None if nothing speaks against it."""
    if is_courtesy(text):
        return RejectReason.NOTHING_ASKED, text[:80]
    if spoken := ASSISTANT.search(text):
        return RejectReason.OTHER_KIND, f"it speaks as the assistant: {spoken.group()[:60]}"
    return find_repeat(text, talk)


def find_repeat(text: str, talk: Sequence[Message]) -> tuple[RejectReason, str] | None:
    """Return which turn of a talk a message says again, None if none."""
    earlier = [turn for turn in talk if turn["role"] != "system"]
    near = RougeIndex(turn["content"] for turn in earlier).nearest(text, above=NEAR)
    if near is None:
        return None
    return RejectReason.REPEATS_ITSELF, f"ROUGE-L {near[0]:.2f} to turn {near[1] + 1} of the talk"


def is_courtesy(text: str) -> bool:
    """Return whether a message thanks, agrees or takes leave, and does nothing else."""
    parts = [part.strip(" \"'") for part in PART.split(text) if part.strip(" \"'")]
    return bool(parts) and all(COURTESY.fullmatch(part) for part in parts)
