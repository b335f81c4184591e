"""Faults that a few characters give away: wrong decoding and markup.

The piece found is stored, so a reader of the table sees what gave the row away.
"""

import polars as pl

from curate.text.patterns import any_word, only, piece

# What UTF-8 read as Windows-1252 or Latin-1 looks like. Second bytes that are plain punctuation there
# are left out: MANHÃ” and «MANHû are Portuguese.
SECOND = r"\x{A0}-\x{BA}\x{BC}-\x{BF}€‚ƒ„†‡ˆ‰Š‹ŒŽ˜™š›œžŸ"
ANY_SECOND = rf"{SECOND}\x{{80}}-\x{{9F}}\x{{BB}}…‘’“”•–—"
DAMAGE = "|".join(
    [
        r"\x{FFFD}",
        # Of control characters, tab, line feeds, form feed and NEL are used; the others are debris.
        r"[\x00-\x08\x0B\x0E-\x1F\x7F\x{80}-\x{84}\x{86}-\x{9F}\x{FDD0}-\x{FDEF}\x{FFFE}\x{FFFF}]",
        rf"Ã[{SECOND}]",
        r"Â[\x{A0}-\x{BA}\x{BC}-\x{BF}]",
        r"â€|ðŸ|ï»¿|ï¿½",
        rf"(?:[ÐÑ][{ANY_SECOND}]){{2,}}",
    ]
)

TAGS = (
    "a|article|audio|b|blockquote|body|br|button|center|code|dd|div|dl|dt|em|figcaption|figure|font|footer"
    "|form|h[1-6]|head|header|hr|html|i|iframe|img|input|label|li|link|meta|nav|noscript|ol|option|p|pre"
    "|script|section|select|small|span|strong|style|sub|sup|svg|table|tbody|td|tfoot|th|thead|tr|u|ul|video"
)
MARKUP = "(?i)" + "|".join(
    [
        rf"</?(?:{TAGS})(?:\s[^<>]*)?/?>",
        r"&(?:nbsp|amp|lt|gt|quot|apos|copy|reg|[lr][sd]quo|[mn]dash|hellip|bull|middot|[lr]aquo"
        r"|#\d{2,6}|#x[0-9a-f]{2,6});",
        r"\{\{[^{}\n]+\}\}|\{%[^%\n]+%\}",
        r"\[/?(?:url|quote|img|size|color)(?:=[^\]\n]*)?\]",
        # The chat templates of models.
        r"<\|[a-z_]+\|>|\[/?INST\]|<</?SYS>>|</s>",
    ]
)
# Every piece of markup begins with one of these.
MARKUP_SIGN = r"[<&{\[]"
CODE = r"(?s)```.*?(?:```|\z)|`[^`\n]+`"


# Where a prompt speaks of these, markup may be what is asked for.
OF_CODE = "(?i)" + any_word(
    r"html5?|xml|svg|css|java|javascript|js|jsx|json|typescript|react|vue|angular|php|python|ruby|sql",
    r"code|coding|program|script|snippet|function|web ?(?:page|site|form)s?|home ?page|markup|markdown",
    r"tags?|templates?|jinja|handlebars|mustache|la?tex|bibtex|bbcode|regex|regular expression|tokens?",
    r"escaped?|entity|entities|pars(?:e|er|ing)",
)

# The furniture of web pages; the first line is C4's (Raffel et al. 2020, arXiv:1910.10683, section 2.2).
PAGE = "(?i)" + any_word(
    "terms of use|privacy policy|cookie policy|(?:uses|use of|use) cookies",
    "all rights reserved|back to top|share this:|page not found|error 404|404 not found",
    r"(?:subscribe to|sign up (?:for|to)) our (?:\w+ ){0,3}newsletter|your session (?:\w+ ){0,3}expired",
    r"page \d+ of \d+ (?:«|<<|‹|<|prev)",
)
OF_PAGE = "(?i)" + any_word(
    "cookies?|privacy|polic(?:y|ies)|terms|legal|copyrights?|rights|newsletters?|subscri(?:be|bers?|ption)",
    "web ?pages?|web ?sites?|blogs?|pages?|links?|errors?|404|sessions?|footers?|e-?mails?|apps?",
)


def rare_piece(text: pl.Expr, pattern: str) -> pl.Expr:
    """Return what `piece` does, faster for a long pattern that few texts match."""
    return piece(only(text, text.str.contains(pattern)), pattern)


def speaks(prompt: pl.Expr, pattern: str, where: pl.Expr) -> pl.Expr:
    """Return whether a prompt holds the pattern; only the prompts where that matters are read."""
    return only(prompt, where).str.contains(pattern)


def without_code(text: pl.Expr) -> pl.Expr:
    """Return a text without what is set as code in it."""
    return text.str.replace_all(CODE, " ")


def find_damage(text: pl.Expr) -> pl.Expr:
    """Return the first sequence that a wrong decoding leaves behind."""
    return piece(text, DAMAGE)


def find_markup(prompt: pl.Expr, response: pl.Expr) -> pl.Expr:
    """Return the first debris of markup or of a page in a response; what is set as code is none."""
    markup = piece(without_code(only(response, response.str.contains(MARKUP_SIGN))), MARKUP)
    page = piece(response, PAGE)
    return pl.coalesce(
        pl.when(~speaks(prompt, OF_CODE, markup.is_not_null())).then(markup),
        pl.when(~speaks(prompt, OF_PAGE, page.is_not_null())).then(page),
    )


def markup_share(prompt: pl.Expr) -> pl.Expr:
    """Return the share of a prompt's characters that is markup; 0 where it speaks of code."""
    # Few prompts have a sign of it, and the others take no time this way.
    signed = only(prompt, prompt.str.contains(MARKUP_SIGN))
    markup = signed.str.len_chars() - signed.str.replace_all(MARKUP, "").str.len_chars()
    size = prompt.str.len_chars()
    share = 1 - (size - markup) / size.clip(1)
    return pl.when(speaks(prompt, OF_CODE, share > 0)).then(0.0).otherwise(share)
