r"""Responses that claim to have done what no text does, and prompts that ask for what no text is.

    Mute the TV.                        The TV has been muted.
    Increase the font size to 12.       Done!
    Generate an image of a cat.         A cat on a mat.

A claim has the verb of its prompt, and speaks of the writer or of what the prompt names, so reports of
what somebody did are left.
"""

from collections.abc import Mapping

import polars as pl
import regex

from curate.clean.heuristics.wordings import claims_elsewhere
from curate.text.patterns import any_word, find_on_some, only, piece

# What a pattern takes for i, s and k where case plays no part.
LIKE_ASCII = str.maketrans("\u0130\u017f\u212a", "isk")
LONGEST_CLAIM, LONGEST_ORDER = 200, 300
ORDER = r"^\W*(?:(?:please|kindly|hey|ok(?:ay)?|(?:can|could|would|will)\syou)\W+)*"
VERB = rf"(?i){ORDER}([a-z]{{3,}})\s"
# Participles that end in no -ed, and what one says instead of them.
PARTICIPLES: Mapping[str, str] = {
    "send": "sent", "set": "set", "put": "put", "buy": "bought", "make": "made", "get": "got",
    "take": "taken|took", "write": "written|wrote", "draw": "drawn|drew", "build": "built",
    "pay": "paid", "run": "run", "shut": "shut", "cut": "cut", "freeze": "frozen|froze",
    "begin": "begun", "bring": "brought", "choose": "chosen|chose",
    "drive": "driven", "feed": "fed", "hide": "hidden", "hold": "held", "wake": "woken",
    "rewrite": "rewritten", "reset": "reset", "rebuild": "rebuilt", "undo": "undone",
    "sell": "sold", "spread": "spread", "throw": "thrown", "split": "split", "ring": "rung",
    "light": "lit", "turn": "turned|on|off", "switch": "switched|on|off", "open": "opened|open",
    "book": "booked|reserved", "delete": "deleted|removed", "remove": "removed|deleted",
    "order": "ordered|placed", "schedule": "scheduled|booked", "remind": "reminded|set",
    "wash": "washed|cleaned|clean",
}  # fmt: skip
# Of these one says that it is done by other words too.
OTHERWISE = [
    verb
    for verb, forms in PARTICIPLES.items()
    if any(not form.startswith(verb[:2]) for form in forms.split("|"))
]
# What they say is true of a thing, or asks for words.
SAYING = frozenset([
    "name", "tell", "define", "describe", "explain", "list", "consider", "use", "base", "know",
    "say", "state", "discuss", "compare", "identify", "give", "answer", "ask", "think", "suppose",
    "imagine", "calculate", "compute", "determine", "measure", "solve", "evaluate", "prove",
    "classify", "categorize", "categorise", "label", "rate", "rank", "tag", "translate",
    "convert", "round", "simplify", "factor", "estimate", "predict", "is", "are", "was", "were",
    "do", "does", "did", "has", "have", "what", "who", "why", "how", "when", "where", "which",
    "the", "this", "that", "there", "these", "you", "your", "and", "for", "from", "with", "given",
    "once", "after", "while", "read", "here", "his", "her",
])  # fmt: skip
# "The area is found by", "It is called": claims only of the writer.
OF_WRITER = frozenset(["call", "find", "show", "sort", "count"])
OPENERS = (
    r"^\W*(?:(?:ok(?:ay)?|sure(?:\sthing)?|done|alright|all\sright|certainly|of\scourse|yes|great|got\sit"
    r"|no\sproblem|absolutely|very\swell)\b[,.!\s–-]*)*"
)
NOW = r"(?:\s(?:just|now|already|successfully|also|been|being))*"
BY = r"(?!\s(?:by|using|with|when|if|because|from|through|via|in\sorder)\b)"
# What is done, not who did it or when.
THING = r"(?:(?!\b(?:if|when|while|had|not|who|that|which|he|she|they|would)\b)[\w'’% -])"
OF_SENTENCES = (
    r"(?i)\b(?:sentences?|phrases?|headlines?|stor(?:y|ies)|passive|tense|news|poems?"
    r"|(?:the|a|this|these|those|following)\swords?)\b"
)
DONE = (
    r"(?i)^\W*(?:(?:ok(?:ay)?|sure|yes)\W+)?(?:(?:it(?:['’]s|\sis)\s|all\s)?done"
    r"|(?:the\s|your\s)?(?:task|request|action)\s(?:is\s|has\sbeen\s)?(?:now\s)?"
    r"(?:done|completed?|finished))\W*$"
)
PICTURES = (
    "images?|pictures?|photos?|photographs?|drawings?|illustrations?|paintings?|portraits?|videos?|gifs?"
    r"|recordings?|graphics?(?:\sor\slogo)?"
)
PICTURE = (
    rf"(?i){ORDER}(?:generate|create|draw|paint|make|produce|render|sketch|take|design|record|send|compose)\s"
    rf"(?:me\s|us\s)?(?:an?\s|the\s|some\s)?(?:[a-z-]+\s){{0,3}}?(?:{PICTURES})"
    r"(?:\s(?:of|that|showing|depicting|with|for|in|representing|about)\s.*|\W*\z)"
)
OF_DRAWING = "(?i)" + any_word(
    r"ascii|svg|html|css|code|describ\w*|descriptions?|texts?|in words|stor(?:y|ies)|python|turtle"
    r"|matplotlib|tikz|latex|mermaid|markdown|prompts?|ideas?|scripts?|titles?|captions?|list|plans?|steps|tutorials?"
    r"|ads?|instructions?|outlines?|concepts?|emojis?|mental|paragraphs?|essays?|poems?|sentences?|functions?"
)
PICTURE_HINTS = ["image", "picture", "photo", "drawing", "illustration", "painting", "portrait", "video",
                 "gif", "recording", "graphic"]  # fmt: skip
DRAWN = r"```|<svg|[|/\\_#*+=-]{6}|(?m)^\s*[|/\\_#*.+=-]{3,}\s*$"


def find_claim(rows: pl.DataFrame) -> pl.Series:
    """Return what rows say was done that no text does, or ask for that no text is; null for others.

    Args:
        rows: prompt and response.
    """
    prompt, response = pl.col("prompt"), pl.col("response")
    order = only(prompt, prompt.str.len_bytes() <= LONGEST_ORDER)
    drawn = response.str.contains(DRAWN) | prompt.str.contains(OF_DRAWING)
    drawing = find_on_some(
        rows,
        order.str.contains_any(PICTURE_HINTS, ascii_case_insensitive=True),
        pl.when(~drawn).then(piece(prompt, PICTURE)),
    )
    at = _may_claim(rows)
    claims = [_claim(*pair) for pair in rows[at].select("prompt", "response").iter_rows()]
    nothing = pl.Series([None] * rows.height, dtype=pl.String)
    claimed = nothing.scatter(at, pl.Series(claims, dtype=pl.String))
    parts = [claimed, drawing, claims_elsewhere(rows)]
    return pl.select(pl.coalesce(parts).str.strip_chars()).to_series()


def _may_claim(rows: pl.DataFrame) -> pl.Series:
    """Return the rows in whose short response a word begins as the verb of their prompt does."""
    prompt, response = pl.col("prompt"), pl.col("response")
    brief = (prompt.str.len_bytes() <= LONGEST_ORDER) & (response.str.len_bytes() <= LONGEST_CLAIM)
    at = rows.select(brief).to_series().arg_true()
    verb = prompt.str.extract(VERB, 1).str.to_lowercase()
    letters = pl.when(verb.is_in(list(PARTICIPLES))).then(2).otherwise(3)
    words = pl.lit(" ") + response.str.to_lowercase()
    begun = words.str.contains(pl.lit(" ") + verb.str.slice(0, letters), literal=True)
    plain = ~response.str.contains_any([":", "\n", '"', "“", "”"])
    done = response.str.contains_any(["done", "complete", "finished"], ascii_case_insensitive=True)
    likely = begun | verb.is_in(OTHERWISE) | done
    may = (plain & likely & ~verb.is_in(list(SAYING))).fill_null(value=False)
    return at.filter(rows[at].select(may).to_series())


def _claim(prompt: str, response: str) -> str | None:
    """Return the words with which a response says that it did what the prompt told it to do."""
    order = regex.match(VERB, prompt)
    if order is None:
        return None
    if regex.match(DONE, response):
        return response
    if regex.search(OF_SENTENCES, prompt):
        return None
    verb = order[1].lower()
    # Its pattern takes longer to build than a hundred rows to be looked at.
    if not says_a_form(verb, response):
        return None
    claim = regex.match(claim_pattern(verb), response)
    if claim is None:
        return None
    named = claim.groupdict()
    thing = named.get("thing") or named.get("bare") or named.get("rest")
    if thing is not None and not _words(thing) & _words(prompt[order.end() :]):
        return None
    return claim[0]


def says_a_form(verb: str, response: str) -> bool:
    """Return whether a response holds a participle of a verb, or the verb and will: all claims do."""
    stem = verb.removesuffix("e")
    forms = {f"{stem}ing", f"{stem}{verb[-1]}ing", *_past(verb).split("|")}
    words = {*regex.findall(r"\w+", response.translate(LIKE_ASCII).lower())}
    promised = verb in words and not words.isdisjoint(("will", "ll"))
    return promised or not (verb.isascii() and forms.isdisjoint(words))


def claim_pattern(verb: str) -> str:
    """Return how a response claims that it has done, or is doing, what a verb says."""
    past = _past(verb)
    going = rf"{verb.removesuffix('e')}(?:{verb[-1]})?ing"
    begun = going if verb in past.split("|") else f"{past}|{going}"
    writer = (
        rf"(?:i|we)(?:(?:['’]ve|\shave)?{NOW}\s(?:{past})|(?:['’]m|\sam){NOW}\s{going}"
        rf"|(?:['’]ll|\swill)\s(?:now\s)?{verb})\b"
    )
    forms = [writer, rf"(?:{begun})(?:\W*$|\s(?P<rest>[\w'’% -]{{1,60}})[.!…]*$)"]
    if verb not in OF_WRITER:
        forms += [
            rf"(?P<thing>{THING}{{1,80}}?)\s(?:(?:has|have){NOW}\s(?:{past})"
            rf"|(?:is|are|was|were){NOW}\s(?:{past}|{going})(?!\sas\b){BY})\b",
            rf"(?P<bare>{THING}{{1,50}}?)\s(?:{past}){BY}\b",
        ]
    return rf"(?i){OPENERS}(?:{'|'.join(forms)})"


def _past(verb: str) -> str:
    """Return the participles of a verb."""
    regular = f"{verb}d" if verb.endswith("e") else f"{verb[:-1]}ied|{verb}ed|{verb}{verb[-1]}ed"
    return f"{regular}|{PARTICIPLES[verb]}" if verb in PARTICIPLES else regular


def _words(text: str) -> set[str]:
    """Return the words of a text that name something."""
    return {word.removesuffix("s") for word in regex.findall(r"[\w'’]{3,}", text.lower())} - {
        "the", "thi", "your", "you", "and", "for", "all", "that", "now", "it",
    }  # fmt: skip
