r"""Where the assistant's turns stand in a rendered conversation, whatever the chat template does to it.

Every text is replaced by a letter of its own that nothing uses, tags like <think> stay as they are, and
the conversation is rendered once more:

    <|im_start|>assistant\n<think>\nA\n</think>\n\nB<|im_end|>        a last turn (Qwen3)
    <|im_start|>assistant\nB<|im_end|>                                the same turn once others follow

The texts put back for their letters must give the rendering, character by character, so each place is
certain. A turn's label begins where its header ends, by how the model is asked for it, and ends with
the mark that is written behind it when it is the last one. Where the template says itself what the
assistant writes ({% generation %}), that is taken, without the header that some have in it:

    {% generation %}<|im_start|>assistant\nB<|im_end|>{% endgeneration %}      B<|im_end|>  (SmolLM3)
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, cast

import orjson
from jinja2 import TemplateError

from curate.core.rows import Message, turn_text
from curate.models.control import LETTERS, control_tokens
from curate.models.templateturns import apply_template, template_messages, tools_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Span = tuple[int, int]
# Templates look for such tags in contents, to cut reasoning out or to tell tool turns.
TAG = re.compile(r"([<\[◁]/?[A-Za-z_|][^<>\[\]◁▷\s]{0,40}[>\]▷])")
# With which a template writes today's date.
CLOCK = "strftime_now"
GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True)
class MarkedConversation:
    """A conversation whose texts are letters: `texts` by letter, `letters` of each turn in order."""

    messages: list[Message]
    texts: Mapping[str, str]
    letters: list[list[str]]

    def places(self, rendering: str, text: str) -> dict[str, Span] | None:
        """Return where the text of each letter of the marked rendering stands in the plain one.

        None if the plain one is not the marked one with its texts put back.
        """
        at, places = 0, {}
        for part in self.split(rendering):
            piece = self.texts.get(part, part)
            if not text.startswith(piece, at):
                return None
            if part in self.texts:
                places[part] = at, at + len(piece)
            at += len(piece)
        return places if at == len(text) else None

    def split(self, rendering: str) -> list[str]:
        """Return letters and what the template wrote between them, in order."""
        return re.split(f"([{''.join(self.texts)}])", rendering) if self.texts else [rendering]

    def before(self, rendering: str, letter: str) -> tuple[str, str]:
        """Return the letter that comes before another one, "" if none does, and what is between."""
        *others, frame = self.split(rendering[: rendering.index(letter)])
        return (others[-1] if others else ""), frame

    def after(self, rendering: str, letter: str) -> str:
        """Return what stands between the last place of a letter and the next letter; "" without it."""
        at = rendering.rfind(letter)
        return self.split(rendering[at + len(letter) :])[0] if at >= 0 else ""


def mark(
    messages: Sequence[Message], template: str, roles: Sequence[str] | None = None
) -> MarkedConversation:
    """Return a conversation with a letter for each text of turns of these roles; of all if None."""
    used = set(template).union(*map(turn_text, messages))
    unused = (letter for letter in map(chr, LETTERS) if letter not in used)
    texts: dict[str, str] = {}
    letters: list[list[str]] = []
    marked: list[Message] = []
    for message in messages:
        own: dict[str, str] = {}
        if roles is None or message["role"] in roles:
            message = _mark_turn(message, unused, own)
        texts |= own
        letters.append(list(own))
        marked.append(message)
    return MarkedConversation(marked, texts, letters)


def _mark_turn(message: Message, unused: Iterator[str], texts: dict[str, str]) -> Message:
    """Return a turn with letters for its texts, in the order that templates write them; fill `texts`."""
    marked: Message = {**message}
    reasoning = message.get("reasoning") or ""
    if core := reasoning.strip():
        marked["reasoning"] = _letter(reasoning, core, unused, texts)
    content, pieces = message["content"], TAG.split(message["content"])
    for i in range(0, len(pieces), 2):
        if core := pieces[i].strip():
            pieces[i] = _letter(pieces[i], core, unused, texts)
    if all(piece.strip() == "" for piece in pieces[::2]) and (core := content.strip()):
        # What is nothing but tags is the text itself.
        pieces = [_letter(content, core, unused, texts)]
    marked["content"] = "".join(pieces)
    if calls := message.get("tool_calls"):
        # Of a call the name: its arguments are written as JSON, in one form or another.
        marked["tool_calls"] = [
            {**call, "name": _letter(call["name"], call["name"], unused, texts)} for call in calls
        ]
    return marked


def _letter(text: str, core: str, unused: Iterator[str], texts: dict[str, str]) -> str:
    """Return a text with a letter in the place of its core."""
    letter = next(unused)
    texts[letter] = core
    return text.replace(core, letter, 1)


def response_spans(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], text: str
) -> list[Span | None]:
    """Return start and end of what each assistant turn's label covers; None for one that is not there.

    Args:
        tokenizer: with the chat template.
        messages: the conversation.
        text: its rendering.
    """
    contents = locate_responses(tokenizer, messages, text)
    generation_spans = _generation_spans(tokenizer, messages, text)
    marked = mark(messages, _template(tokenizer))
    turns = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    frames = _TurnFrames(tokenizer, marked)
    starts = [span and span[0] - frames.opening(i) for i, span in zip(turns, contents, strict=True)]
    if len(generation_spans) == len(contents) and all(
        c is None or (g[0] <= c[0] and c[1] <= g[1])
        for g, c in zip(generation_spans, contents, strict=True)
    ):
        return [
            None if start is None else (max(g[0], start), g[1])
            for g, start in zip(generation_spans, starts, strict=True)
        ]
    return [
        None if span is None or start is None else (start, span[1] + frames.closing(i))
        for i, span, start in zip(turns, contents, starts, strict=True)
    ]


def omitted_part(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> str | None:
    """Return what of a conversation the template writes nothing of, in words; None if it writes all.

    Some have no system or tool turns and pass over them (Zephyr), Mistral's have the system text before
    the last turn alone and only if that is the user's, and many know no tools.
    """
    roles = {message["role"] for message in messages} - {"user", "assistant"}
    if any(message.get("tool_calls") for message in messages):
        roles.add("assistant")
    if roles:
        marked = mark(messages, _template(tokenizer), sorted(roles))
        rendering = _render(tokenizer, marked.messages) or ""
        for message, letters in zip(marked.messages, marked.letters, strict=True):
            calls = message.get("tool_calls")
            if calls and not all(call["name"] in rendering for call in calls):
                return "calls of tools"
            if message["role"] == "assistant":
                continue
            if letters and not any(letter in rendering for letter in letters):
                return f"{message['role']} turn"
    if messages[0].get("tools"):
        bare = [cast(Message, {**messages[0], "tools": None}), *messages[1:]]
        if _render(tokenizer, bare) == _render(tokenizer, messages):
            return "tools"
    return None


def locate_responses(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], text: str
) -> list[Span | None]:
    """Return where what the template leaves of each assistant turn's texts stands in the rendering.

    None for a turn whose answer (its last text) is not there, and for all if the rendering holds their
    texts in another form.
    """
    return locate_turns(tokenizer, messages, text, "assistant")


def locate_turns(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], text: str, role: str
) -> list[Span | None]:
    """Return where the texts of each turn of a role stand, as `locate_responses` has it."""
    for roles in (None, (role,)):
        # Templates write tool turns as JSON, say: then only the role's own texts are marked.
        marked = mark(messages, _template(tokenizer), roles)
        places = marked.places(_render_letters(tokenizer, marked.messages) or "", text)
        if places is not None:
            return [
                _extent(letters, places)
                for message, letters in zip(messages, marked.letters, strict=True)
                if message["role"] == role
            ]
    return [None for message in messages if message["role"] == role]


def _extent(letters: Sequence[str], places: Mapping[str, Span]) -> Span | None:
    held = [places[letter] for letter in letters if letter in places]
    return (held[0][0], held[-1][1]) if letters and letters[-1] in places else None


class _TurnFrames:
    """What the template writes before and after the texts of turns."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", marked: MarkedConversation) -> None:
        self._tokenizer, self._marked = tokenizer, marked
        self._whole = _render(tokenizer, marked.messages) or ""
        self._units = re.compile(f"{control_tokens(tokenizer).pattern}|<[^<>\\s]+>|\\s|[^\\s<]+|<")

    def opening(self, turn: int) -> int:
        """Return how many characters before its first text a turn's label begins."""
        held = (letter for letter in self._marked.letters[turn] if letter in self._whole)
        first = next(held, "")
        if not first:
            return 0
        previous, frame = self._marked.before(self._whole, first)
        own = len(self._lead(turn, first, frame))
        prompt = (
            _render(self._tokenizer, self._marked.messages[:turn], prompt=True) if turn else None
        )
        if prompt and self._whole.startswith(prompt):
            return max(self._whole.index(first) - len(prompt), 0)
        if prompt is None or not previous or previous not in prompt:
            return own
        header = self._marked.after(prompt, previous)
        common = self._common(header, frame)
        rest = frame[len(common) :]
        # Where the prompt goes on otherwise than the turn does, only white space is not the header's.
        return len(rest) if common == header or not rest.strip() else own

    def _lead(self, turn: int, first: str, frame: str) -> str:
        """Return the tags that the turn itself has before its first text."""
        lead = self._marked.messages[turn]["content"].split(first)[0].lstrip()
        return lead if frame.endswith(lead) else ""

    def closing(self, turn: int) -> int:
        """Return how many characters after its last text a turn's label ends."""
        last = self._marked.letters[turn][-1]
        frame = self._marked.after(self._whole, last)
        if turn == len(self._marked.messages) - 1:
            return len(frame.rstrip())
        alone = _render(self._tokenizer, self._marked.messages[: turn + 1]) or ""
        # White space after the end marker is never generated.
        return len(self._common(self._marked.after(alone, last), frame).rstrip())

    def _common(self, one: str, other: str) -> str:
        """Return the longest common start, in whole control tokens, tags and words."""
        if other.startswith(one) or one.startswith(other):
            return min(one, other, key=len)
        pairs: Iterator[tuple[str, str]] = zip(
            self._units.findall(one), self._units.findall(other), strict=False
        )
        return "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _template(tokenizer: "PreTrainedTokenizerBase") -> str:
    return str(tokenizer.chat_template)


def _render(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], *, prompt: bool = False
) -> str | None:
    """Return a part of a conversation, or one with marked texts; None if the template refuses it."""
    try:
        return apply_template(tokenizer, messages, prompt=prompt)
    except template_faults():
        return None


def _render_letters(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]
) -> str | None:
    """Return a conversation with marked texts in the template, as `_render` does.

    Rows that differ in their texts alone are one conversation of letters, which is rendered once.
    """
    template = _template(tokenizer)
    if CLOCK in template:
        return _render(tokenizer, messages)
    return _rendering_of(tokenizer, template, orjson.dumps(list(messages)))


@lru_cache(maxsize=256)
def _rendering_of(
    tokenizer: "PreTrainedTokenizerBase", template: str, messages: bytes
) -> str | None:
    return _render(tokenizer, orjson.loads(messages))


def template_faults() -> tuple[type[Exception], ...]:
    """Return what a chat template raises where it refuses a conversation, in words or by a fault."""
    return (TemplateError, ValueError, TypeError, LookupError, AttributeError)


def _generation_spans(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], text: str
) -> list[Span]:
    """Return what the template itself marks as written by the assistant; nothing if it marks nothing."""
    template = str(tokenizer.get_chat_template())
    if not GENERATION.search(template):
        return []
    from transformers.utils.chat_template_utils import render_jinja_template  # noqa: PLC0415

    [rendering], [spans] = render_jinja_template(
        conversations=[template_messages(tokenizer, messages)],
        tools=tools_of(messages),
        chat_template=template,
        return_assistant_tokens_mask=True,
        **tokenizer.special_tokens_map,
    )
    if rendering != text:
        return []
    return [(start, start + len(text[start:stop].rstrip())) for start, stop in spans]
