"""Responses that decline to answer, by their first words (English ones; others: declining)."""

import polars as pl

from curate.answers import declining
from curate.text.patterns import EDGE, find_on_some, in_ascii, piece

OPENING = 300
CANNOT = (
    r"cannot|can['’]?t|can\snot|won['’]t|will\snot|(?:am\s|are\s|['’]m\s)?(?:unable|not\sable"
    r"|not\spermitted|not\sallowed)\sto|(?:must\s|have\sto\s)?decline\sto"
)
HELP = (
    r"help|assist|provide|fulfill?|comply|answer|complete|generate|create|write|produce|engage|support"
    r"|share|offer|discuss|access|browse|process|respond|do\s(?:that|this)|perform"
    r"|give\s(?:you|advice|any)"
)
DECLINES = (
    r"(?:i|we)(?:['’]m|['’]re|\sam|\sare)?\s(?:really\s|simply\s|just\s|still\s)?"
    rf"(?:{CANNOT})\s(?:\w+\s){{0,2}}?(?:{HELP}){EDGE}"
)
APOLOGY = (
    r"(?:(?:i['’]m|i\sam|we['’]re|we\sare)\s)?(?:very\s|so\s|truly\s)?(?:sorry|afraid)"
    r"|(?:i|we)\sapologi[sz]e|my\sapologies"
)
MACHINE = (
    r"as\san?\s(?:(?:ai|artificial\sintelligence|large)(?:\slanguage)?\s(?:model|assistant|system|chatbot)"
    r"|language\smodel|(?:ai|artificial\sintelligence)\W)"
)
FIRST = rf"^\W*(?:no{EDGE}\W+)?(?:(?:{APOLOGY}|unfortunately|{MACHINE}){EDGE}\W*(?:but{EDGE}\W*)?)?"
NOT = r"(?:cannot|can['’]?t|can\snot|won['’]t|will\snot|could\snot|couldn['’]t)"
LACKS = (
    r"access\sto|the\s(?:ability|capability|means)\sto|enough\s(?:information|context|data|details)"
    r"|(?:any\s)?(?:personal\s)?(?:opinions?|feelings|beliefs|preferences|emotions){EDGE}"
).replace("{EDGE}", EDGE)
# What opens every refusal, and is found in a fraction of the time.
FIRST_WORD = r"(?i)^\W*(?:i|we|no|it|this|that|the\s(?:request|task|question|instruction))(?:\W|\z)"
WORDS_BEFORE = ["sorry", "afraid", "apolog", "unfortunately", "as a", "unable to", "not able"]
REFUSAL = "(?is)" + "|".join(
    [
        rf"^\W*(?:(?:{APOLOGY}|unfortunately|{MACHINE}){EDGE}.*?{EDGE})?{DECLINES}",
        rf"^.*?{EDGE}{MACHINE}[^.!?]*{EDGE}i(?:['’]m|\sam|\sdo|\scan)?"
        rf"(?:\snot|n['’]t|\sunable|\scannot|\sdon['’]t|\scan['’]t){EDGE}",
        # The whole response.
        rf"{FIRST}(?:i|we)\s(?:really\s|just\s|simply\s)?{NOT}"
        r"(?:\s(?:do|answer|say|tell|discuss|help|assist)(?:\s(?:you|that|this|it|with|the|your)){0,4}"
        r"(?:\s(?:question|request|task))?)?\W*\z",
        rf"{FIRST}(?:i|we)\s(?:must\s|have\sto\s|would\s)?(?:respectfully\s|politely\s)?(?:refuse|decline)"
        rf"(?:\sto\s(?:{HELP}){EDGE}|\W*\z|\s(?:this|that|your)\srequest{EDGE})",
        rf"{FIRST}(?:i|we)\s(?:do\snot|don['’]t)\s(?:currently\s|really\s)?have\s(?:{LACKS})",
        rf"{FIRST}(?:i['’]m|i\sam)\s(?:just\s|only\s|merely\s)?an?\s"
        rf"(?:ai|artificial\sintelligence|(?:large\s)?language\smodel|chatbot|computer\sprogram){EDGE}",
        rf"{FIRST}(?:i['’]m|i\sam)\snot\s(?:programmed|designed|trained|equipped|comfortable|capable\sof)\s",
        rf"{FIRST}i\s(?:do\snot|don['’]t)\s(?:feel\scomfortable|understand\s(?:the|your|this|what\syou))",
        rf"{FIRST}th(?:is|at)(?:['’]s|\sis)\snot\ssomething\s(?:that\s)?i\s(?:can|am\sable)",
        rf"{FIRST}(?:i|we)\s(?:{CANNOT})\s(?:open|view|see|read|draw|show|display|play|watch|listen\sto|send|make|visit)"
        rf"\s(?:\w+\s){{0,2}}?(?:images?|pictures?|photos?|links?|urls?|files?|videos?|audio|attachments?|websites?"
        rf"|the\sinternet|emails?|calls?|documents?){EDGE}",
        rf"{FIRST}it(?:['’]s|\sis)\s(?:not\spossible|impossible)\sfor\sme\sto{EDGE}",
        rf"{FIRST}th(?:is|e|at)\s(?:request|task|question|instruction)\s(?:cannot|can['’]?t)\sbe\s"
        rf"(?:fulfilled|completed|answered|done|processed|performed){EDGE}",
        rf"{FIRST}i(?:['’]d|\swould)\s(?:rather|prefer)\s(?:to\s)?not\s(?:to\s)?(?:say|answer|discuss|comment|do\sthat)",
    ]
)


# To a request that is to be declined, whoever says no without such words declines as well.
SAYS_NO = "(?is)" + "|".join(
    [
        rf"{FIRST}(?:i|we)\s(?:do\snot\sknow\sth(?:at|is)\sand\s|don['’]t\sknow\sth(?:at|is)\sand\s)?"
        rf"(?:{NOT}|would\snot|wouldn['’]t|(?:really\s)?(?:refuse|decline)\sto"
        rf"|(?:am|['’]m)\snot\s(?:going|willing|able|allowed|equipped)\sto){EDGE}",
        rf"^[^!?]*?{EDGE}as\san?\s(?:[\w-]+\s){{0,3}}?(?:ai|chatbot|assistant|model|program){EDGE}[^.!?]*"
        rf"{EDGE}i(?:['’]m|\sam|\sdo|\scan)?(?:\snot|n['’]t|\sunable|\scannot|\sdon['’]t|\scan['’]t){EDGE}",
    ]
)
EAGER = rf"(?is)^\W*i\s{NOT}\s(?:wait|help\sbut|agree\smore|believe|stop){EDGE}"


def find_declined(rows: pl.DataFrame) -> pl.Series:
    """Return the words with which responses decline what should be declined; null for the others.

    Args:
        rows: prompt and response; every prompt is a request to decline.
    """
    start = pl.col("response").str.slice(0, OPENING)
    words = pl.coalesce(find_refusal(rows), piece(start, in_ascii(SAYS_NO)))
    return rows.select(pl.when(~start.str.contains(in_ascii(EAGER))).then(words)).to_series()


def find_refusal(rows: pl.DataFrame) -> pl.Series:
    """Return the words with which responses decline to answer; null where the prompt holds them.

    Args:
        rows: prompt and response.
    """
    start = pl.col("response").str.slice(0, OPENING)
    maybe = start.str.contains(FIRST_WORD) | start.str.contains_any(
        WORDS_BEFORE, ascii_case_insensitive=True
    )
    parts = [
        find_on_some(rows, maybe, _unheld(start, in_ascii(REFUSAL))),
        find_on_some(
            rows, start.str.contains_any(declining.SIGNS), _unheld(start, declining.DECLINES)
        ),
    ]
    return pl.select(pl.coalesce(parts)).to_series()


def _unheld(start: pl.Expr, pattern: str) -> pl.Expr:
    """Return the piece of a response's start that a pattern matches, null where the prompt holds it."""
    refusal = piece(start, pattern).str.strip_chars()
    prompt = pl.col("prompt").str.to_lowercase()
    return pl.when(~prompt.str.contains(refusal.str.to_lowercase(), literal=True)).then(refusal)
