"""Prompts without an answer: read for the leak check, which compares prompts alone; no row of a pool.

{"key": 1000, "prompt": "Write a poem ..."}                IFEval
{"question_id": 81, "turns": ["Write ...", "Now ..."]}     MT-Bench
"""

from curate.core.reasons import Reason
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault, Roles
from curate.pool.layouts.pairs import PAIRS, read_prompt

TURNS = "turns"


class PromptLayout:
    """A prompt in a usual field, or several user turns."""

    name = "prompts"

    def matched_fields(self, record: Record) -> tuple[str, ...]:
        """Return the field with the prompt."""
        names = (TURNS, *(pair.prompt for pair in PAIRS))
        return tuple(name for name in names if record.get(name))[:1]

    def read(self, record: Record, roles: Roles) -> ConversationTurns:
        """Return the user turns.

        Raises:
            RecordFault: a field holds no text.
        """
        (field,) = self.matched_fields(record)
        if field != TURNS:
            # Of an instruction the last of these has the input below it.
            return read_prompt(record, [p for p in PAIRS if p.prompt == field][-1], roles)
        texts = record[TURNS]
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise RecordFault(Reason.WRONG_TYPE, TURNS)
        return ConversationTurns([{"role": "user", "content": text} for text in texts], {TURNS})
