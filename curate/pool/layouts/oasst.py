"""Trees of messages, as OpenAssistant writes them: the best-ranked path of each is the conversation.

{"message_tree_id": "...", "prompt": {"role": "prompter", "text": "...", "replies": [{...}, ...]}}
"""

from curate.core.reasons import Reason
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault, Roles
from curate.pool.layouts.roles import map_role


class TreeLayout:
    """A message tree of OpenAssistant: a prompt with replies, and the replies to these."""

    name = "oasst"

    def matched_fields(self, record: Record) -> tuple[str, ...]:
        """Return the field with the tree."""
        prompt = record.get("prompt")
        return ("prompt",) if isinstance(prompt, dict) and "replies" in prompt else ()

    def read(self, record: Record, roles: Roles) -> ConversationTurns:
        """Return the turns of the best-ranked path down to its last answer.

        Raises:
            RecordFault: a message of it is none.
        """
        example = ConversationTurns([], {"prompt"})
        prompt, where = record["prompt"], "prompt"
        node: Record | None = prompt if isinstance(prompt, dict) else None
        while node is not None:
            role = map_role(_text_of(node, "role", where), roles)
            example.turns.append({"role": role, "content": _text_of(node, "text", where)})
            node, where = _best_reply(node, where)
        while len(example.turns) > 1 and example.turns[-1]["role"] != "assistant":
            example.turns.pop()
        return example


def _text_of(node: Record, key: str, where: str) -> str:
    text = node.get(key)
    if not isinstance(text, str):
        raise RecordFault(Reason.MISSING_FIELD, f"{where}.{key}")
    return text


def _best_reply(node: Record, where: str) -> tuple[Record | None, str]:
    """Return the reply of the lowest rank, the first of those without one last; None at the end."""
    replies = node.get("replies") or []
    if not isinstance(replies, list) or not all(isinstance(reply, dict) for reply in replies):
        raise RecordFault(Reason.WRONG_TYPE, f"{where}.replies")
    kept = [(i, reply) for i, reply in enumerate(replies) if not reply.get("deleted")]
    if not kept:
        return None, where

    def order(numbered: tuple[int, Record]) -> tuple[float, int]:
        rank = numbered[1].get("rank")
        return (float(rank) if isinstance(rank, int | float) else float("inf"), numbered[0])

    i, reply = min(kept, key=order)
    return reply, f"{where}.replies[{i}]"
