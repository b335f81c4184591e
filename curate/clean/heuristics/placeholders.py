r"""What stands in a row where a text should be.

    lorem ipsum   [insert name]   TODO   N/A        in or as a response
    <No Output>   noinput   \n\nN/A                 instead of nothing
    [Image of a cat]   <web page of a shop>         a name of what is not there
    # your code here   ```python\n```               code that is none

Names in brackets, as in [Your Name], are in order in letters, forms and the like.
"""

import polars as pl

from curate.text.patterns import EDGE, any_word, find_on_some, in_ascii, piece

FILLERS = (
    r"n/?a|to ?do|tbd|tba|fixme|nan|undefined|test|foo ?bar|asdf\w*|x{4,}"
    r"|\?+|\.{2,}|…|-{2,10}|_{2,10}"
)
FILLER = rf"(?i)^[\s\"'(\[*]*(?:{FILLERS})[\s\"')\]*.!]*$"
MASHED = "(?:asdf|qwer|zxcv|hjkl)[a-z]*"
PLACEHOLDER = "(?i)" + "|".join(
    [
        any_word("lorem ipsum", "dolor sit amet"),
        r"[\[<{](?:please )?(?:insert|enter|fill in)\s[^\]>}\n]+[\]>}]",
        r"[\[<{](?:your|the|my) (?:answer|response|text|output|solution|reply)(?: (?:goes )?here)?"
        r"[\]>}]",
        any_word(f"{MASHED} {MASHED}", "asdfg?h?j?k?l?"),
        rf"^\s*(?:todo|fixme|tbd){EDGE}\s*:.*",
    ]
)
OF_PLACEHOLDERS = "(?i)" + any_word(
    "lorem|ipsum|placeholders?|dummy|filler|fill in|templates?|form letter|keyboards?|qwerty|asdf|todo"
)

# What says that there is nothing, in place of nothing.
NEEDED = (
    r"(?:\s(?:is\s|was\s)?"
    r"(?:needed|required|provided|given|necessary|available|specified|applicable))?"
)
NOTHING = (
    r"(?i)[<\[({]\s*no[\s_-]?(?:input|output|response|answer|instruction|text|context|result)s?"
    rf"{NEEDED}\s*[>\])}}]"
)
BARE_NOTHING = rf"no[\s_-]?(?:input|output|response|context)s?{NEEDED}"
NO_INPUT = (
    rf"(?i)(?:\A|\n)[ \t\"']*(?:input\s*:\s*)?{BARE_NOTHING}[\s\"'.]*\z"
    r"|(?i)\n\n[ \t\"'<\[(]*(?:n/a|not applicable|none|null|nil|nan|blank|empty)[\s\"'.>\])]*\z"
)
NO_OUTPUT = rf"(?i)\A[\s\"'*]*(?:output\s*:\s*)?{BARE_NOTHING}[\s\"'.*]*\z"
OF_OUTPUT = "(?i)" + any_word("outputs?|inputs?|prints?|printed|displays?|returns?")
LAST_CHARS = 60
MEDIA = (
    "images?|pictures?|photos?|videos?|audio|graphs?|charts?|diagrams?|screenshots?|logos?|drawings?"
    "|illustrations?|links?|urls?|attachments?|files?|code snippets?|code"
)
# A bracket is the whole response, or the mark of a picture or link in it.
BRACKETED = "(?i)" + "|".join(
    [
        r"\A\s*<[a-z][^<>\n/=\"]*\s[^<>\n/=\"]+>[\s.]*\z",
        r"\A\s*[<\[{(](?:output|response|answer|result|input|text|content|code|image|picture|empty|blank|none"
        r"|null|your text|story|essay|poem|summary|code snippet)[>\]})][\s.]*\z",
        rf"\A\s*\((?:an?\s|the\s)?(?:{MEDIA}|table|text|code|answer)\s[^()\n]+\)[\s.]*\z",
        r"\A\s*(?:your|the)\s(?:[a-z]+\s){1,2}(?:goes\s)?here[\s.]*\z",
        r"\A\s*\[[a-z][^\[\],;|\n\"'0-9]*\s[^\[\],;|\n\"']+\][\s.]*\z",
        rf"[\[<](?:an?\s|the\s|your\s)?(?:{MEDIA})"
        r"(?:\s?:[^\]>\n]+|\s(?:of|to|here|goes|attached|placeholder)[^\]>\n]*)?[\]>](?:[^(]|\z)",
    ]
)
BLANK = (
    r"(?i)[\[<{](?:(?:your|the|his|her|their|company|first|last|full|product|event|job|customer|client)\s)?"
    r"(?:name|city|country|date|address|company|location|number|product|title|year|topic|place|position"
    r"|amount|e-?mail|phone|state|website|adjective|noun|verb|person|time|price|brand|subject)[\]>}]"
    r"(?:[^(]|\z)"
)
OF_BLANKS = "(?i)" + any_word(
    "letters?|e-?mails?|templates?|messages?|forms?|cards?|invitations?|speech(?:es)?|scripts?"
    r"|mad ?libs?|cover|resum\w*|contracts?|ads?|advert\w*|announc\w*|posts?|notes?|memos?|dear|hi"
    r"|hello|sincerely|regards|bio\w*|html|code|program|placeholders?|blanks?|proposals?|releases?|reports?|reviews?|sms"
)
COMMENT = r"(?:#|//|--|/\*|<!--|%)\s*"
# Code that says where code should be, or holds none.
NO_CODE = "(?i)" + "|".join(
    [
        rf"{COMMENT}(?:\.{{3}}\s*)?(?:(?:insert|add|put|write|place|enter|implement)\s)?"
        r"(?:your|the|rest of|remaining|existing|other|some|more)\s(?:rest of\s|the\s|of\s|own\s)*"
        rf"(?:code|logic|implementation|solution|function body|body){EDGE}",
        rf"{COMMENT}(?:code|implementation|logic|solution|body)\s(?:goes\s)?here{EDGE}",
        rf"{COMMENT}(?:todo|fixme){EDGE}:?\s*(?:implement|add|write|fill|complete|code){EDGE}",
        r"```[a-z+#]*\s*```",
        r"\A\s*(?:(?:#|//)[^\n]*\s*)?(?:def|function)\s\w+\([^)\n]*\)\s*:?\s*\{?\s*(?:pass|\.\.\.)?\s*\}?\s*\z",
    ]
)


ANY_PLACEHOLDER = in_ascii(
    "|".join(f"(?:{one})" for one in (FILLER, PLACEHOLDER, BRACKETED, NO_CODE, NOTHING))
)
NONE = in_ascii(f"(?:{NO_INPUT})|(?:{NOTHING})")


def find_placeholder(rows: pl.DataFrame) -> pl.Series:
    """Return what stands in rows for a text that is not there; null where the prompt speaks of it.

    Args:
        rows: prompt and response.
    """
    prompt, response = pl.col("prompt"), pl.col("response")
    end = prompt.str.slice(-LAST_CHARS)
    placeholder, blank, output = (
        piece(response, one) for one in (ANY_PLACEHOLDER, BLANK, NO_OUTPUT)
    )
    held = prompt.str.to_lowercase().str.contains(placeholder.str.to_lowercase(), literal=True)
    both = pl.concat_str(prompt, response, separator=" ")
    parts = [
        pl.when(~held & ~prompt.str.contains(OF_PLACEHOLDERS)).then(placeholder),
        pl.when(~both.str.contains(OF_BLANKS)).then(blank),
        pl.when(~prompt.str.contains(OF_OUTPUT)).then(output),
        piece(end, NONE),
    ]
    maybe = response.str.contains(
        f"{ANY_PLACEHOLDER}|(?:{BLANK})|(?:{NO_OUTPUT})"
    ) | end.str.contains(NONE)
    return find_on_some(rows, maybe, pl.coalesce(parts).str.strip_chars())
