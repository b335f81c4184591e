r"""Preference pairs: the chosen answer makes the row, the rejected one its column `rejected`.

{"prompt": "...", "chosen": "...", "rejected": "..."}                       DPO
{"prompt": [...], "chosen": [turns], "rejected": [turns]}                   TRL
{"chosen": [all turns], "rejected": [all turns]}                            TRL, implicit prompt
{"chosen": "\n\nHuman: ...\n\nAssistant: ...", "rejected": "..."}           HH-RLHF
{"messages": [...], "preferred_output": [...], "non_preferred_output": [...]}   OpenAI
{"instruction": "...", "input": "...", "chosen": "...", "rejected": "..."}  LLaMA-Factory
"""

from curate.core.reasons import Reason
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault, Roles
from curate.pool.layouts.messages import listed_layout, read_listed, unpacked_turns
from curate.pool.layouts.pairs import PAIRS, PairLayout, add_response, read_prompt
from curate.pool.layouts.rejected import add_rejected, opens_conversation
from curate.pool.layouts.transcript import find_marks, read_transcript

# UltraInteract's turns up to the answer.
TRAJECTORY = "trajectory"
CHOSEN = {
    "chosen": "rejected",
    "preferred_output": "non_preferred_output",
    "chosen_response": "rejected_response",
}


class PreferenceLayout:
    """A prompt with a chosen and a rejected answer."""

    name = "preference"

    def matched_fields(self, record: Record) -> tuple[str, ...]:
        """Return the fields with the chosen answer and the rejected one."""
        if record.keys().isdisjoint(CHOSEN):
            return ()
        fields = next((pair for pair in CHOSEN.items() if pair[0] in record), ())
        return tuple(field for field in fields if field in record)

    def read(self, record: Record, roles: Roles) -> ConversationTurns:
        """Return the turns that lead to the chosen answer.

        Raises:
            RecordFault: a field holds no text and no turns, there is no prompt, or the rejected answer
                is one to another prompt.
        """
        chosen, *rejected = self.matched_fields(record)
        if record[chosen] is None:
            raise RecordFault(Reason.MISSING_FIELD, chosen)
        example = _conversation(record, chosen, roles)
        for field in rejected:
            if record[field]:
                turns = _conversation(record, field, roles).turns
                add_rejected(example, turns, field, record)
            example.used.add(field)
        return example


def _conversation(record: Record, field: str, roles: Roles) -> ConversationTurns:
    return _whole(record, field, roles) or _answered(record, field, roles)


def _whole(record: Record, chosen: str, roles: Roles) -> ConversationTurns | None:
    """Return the turns of a chosen text that holds its prompt as well; None if it does not."""
    value = unpacked_turns(record[chosen])
    if find_marks(value) is not None:
        example = ConversationTurns(read_transcript(value, chosen, roles), {chosen})
    elif isinstance(value, list):
        example = read_listed(value, chosen, roles)
        if not opens_conversation(example.turns) and _has_prompt(record):
            return None
    else:
        return None
    return example if any(turn["role"] == "user" for turn in example.turns) else None


def _has_prompt(record: Record) -> bool:
    """Return whether the prompt stands in a field of its own: then turns may go on from it."""
    named = isinstance(record.get(TRAJECTORY), list) or listed_layout(record) is not None
    return named or any(_leads(pair, record) for pair in PAIRS)


def _leads(pair: PairLayout, record: Record) -> bool:
    """Return whether a record has the prompt of a pair, and what else tells that pair."""
    return bool(record.get(pair.prompt)) and record.keys() >= {*pair.needs}


def _answered(record: Record, chosen: str, roles: Roles) -> ConversationTurns:
    """Return the turns of the prompt that stands in a field of its own, and the chosen answer."""
    if isinstance(record.get(TRAJECTORY), list):
        example = read_listed(record[TRAJECTORY], TRAJECTORY, roles)
        add_response(example, record, chosen, roles)
        return example
    listed = listed_layout(record)
    pair = next((pair for pair in PAIRS if _leads(pair, record)), None)
    if listed is not None:
        example = listed.read(record, roles)
    elif pair is not None:
        example = read_prompt(record, pair, roles)
    else:
        raise RecordFault(Reason.MISSING_FIELD, "prompt")
    add_response(example, record, chosen, roles)
    return example
