r"""What a prompt speaks of and does not hold, so that its answer can only be made up.

    Summarize the following article.                              no article
    What is in this picture? <image>                              no picture
    Write a headline for it.\n\nhttps://news.example.com/1         an address, which nobody opens

In English and the languages of wordings, and in short prompts alone: longer ones hold what they speak
of, or something like it. A response that asks for what is missing is in order.
"""

import polars as pl

from curate.clean.heuristics.signs import rare_piece
from curate.clean.heuristics.wordings import missing_elsewhere
from curate.text.patterns import EDGE, any_word, find_on_some, in_ascii, only, piece

TEXTS = (
    "article|paragraph|passage|text|story|poem|essay|letter|e-?mail|message|document|report|review"
    "|blog post|post|tweet|comment|conversation|dialogue|transcript|speech|quote|quotation|excerpt"
    "|abstract|news"
    "|sentences?|phrases?|words?|lines?|statements?|questions?|paragraphs|articles|texts|headlines?"
    "|code|functions?|program|script|snippet|query|queries|equations?|expressions?|formula|problem"
    "|data|datasets?|table|lists?|numbers?|graph|chart|diagram|figure|information|input|resume"
    "|images?|pictures?|photos?|photographs?|videos?|audio|recording|song|screenshot|painting|drawing"
)
MEDIA = "images?|pictures?|photos?|photographs?|videos?|audio|recordings?|screenshots?|diagrams?|charts?"
FILES = "files?|documents?|pdfs?|spreadsheets?|attachments?|articles?|reports?|resumes?"
# Nothing that follows may be what is spoken of: no other sentence, quote, number or list.
REST = (
    r"(?:[^.?!:;,\n\"“”«»'‘’`0-9()\[\]{}<>]"
    r"|\d{1,4}\s(?:words?|sentences?|paragraphs?|lines?|points?|steps?|minutes?))*[.?!:]*\s*\z"
)
SPAN = r"(?:day|week|month|year|morning|evening|night|season|summer|winter|spring|fall|century|decade)s?"
POINTED = (
    rf"(?i){EDGE}(?:the|these|those|this)\s(?:following|below)\s(?:[a-z-]+\s){{0,3}}?(?:[a-z-]+)"
    rf"|{EDGE}(?:the\s|this\s|these\s)?(?:given|provided|above|attached|aforementioned|preceding)\s"
    rf"(?:[a-z-]+\s){{0,2}}?(?:{TEXTS}){EDGE}"
    rf"|{EDGE}(?:the|this)\s(?:[a-z-]+\s)?(?:{TEXTS})\s(?:(?:given|provided|shown|listed|written)\s)?(?:below|above)"
)
DOING = (
    "summari[sz]e|translate|rewrite|re-write|edit|fix|debug|correct|proofread|classify|categori[sz]e|analy[sz]e"
    "|paraphrase|rephrase|simplify|shorten|condense|improve|evaluate|critique|annotate|punctuate|reword"
    "|convert|explain|interpret|check|read|review|refactor|optimi[sz]e|transcribe|describe|caption|identify|complete|continue|finish|solve"
)
THIS = (
    rf"(?i)^\W*(?:please\s)?(?:{DOING})\s(?:[a-z]+\s){{0,5}}?(?:this|these)\s(?:[a-z-]+\s){{0,2}}?"
    rf"(?:{TEXTS}){EDGE}"
)
ABOUT_CODE = (
    r"(?i)^\W*(?:what\s(?:does|is|will|would)|what(?:\sis|['’]s)\swrong\s(?:with|in)|explain\s(?:what|how))\s(?:the\soutput\sof\s)?this\s"
    r"(?:piece\sof\s)?(?:[a-z]+\s)?(?:code|function|program|script|snippet|query|command|method|class|regex)"
    rf"{EDGE}"
)
GIVEN = (
    r"(?i)^\W*given\s(?:an?|the|this|some|two|three)\s(?:[a-z-]+\s){0,2}?"
    r"(?:paragraphs?|passages?|articles?|texts?|sentences?|stor(?:y|ies)|poems?|reviews?|tweets?|e-?mails?"
    r"|conversations?|dialogues?|images?|pictures?|photos?|videos?|documents?|essays?|headlines?)\s?,\s"
    r"(?:please\s)?(?:find|identify|summari[sz]e|classify|determine|rewrite|translate|extract|analy[sz]e|describe"
    r"|generate|create|write|list|give|state|name|predict|provide|decide|tell|paraphrase|edit|correct)"
)
MISSING = "|".join(f"(?:{one})" for one in (POINTED, THIS, ABOUT_CODE, GIVEN))
NOT_HELD = in_ascii(rf"(?:{MISSING}){REST}")
# Marks of what was left out, and what is said to come with the prompt.
ATTACHED = "|".join(
    [
        rf"(?i)[<\[(]\s*(?:an?\s|the\s|see\s)?(?:{MEDIA}|{FILES})(?:\s(?:is\s|was\s)?(?:attached|uploaded|here|included"
        r"|enclosed|omitted|removed|goes\shere|not\sshown|of\s[^>\])\n]+))?\s*[>\])]",
        rf"(?i)[<\[(]\s*(?:attached|attachment|inserted?|uploaded|enclosed)\s?(?:{MEDIA}|{FILES})?[^>\])\n]*[>\])]",
        rf"(?i){EDGE}(?:attached|enclosed|uploaded)\s(?:[a-z-]+\s){{0,2}}?(?:{MEDIA}|{FILES}){EDGE}",
        rf"(?i){EDGE}(?:{MEDIA}|{FILES})\s(?:that\s)?(?:i\s|is\s|are\s|was\s|i've\s|i\shave\s)?(?:just\s)?"
        rf"(?:attached|uploaded|enclosed){EDGE}",
        rf"(?i){EDGE}(?:see|in|open|read|review|check)\s(?:the\s)?attach(?:ed|ments?){EDGE}",
        rf"(?i){EDGE}(?:shown|seen|depicted|pictured|displayed)\sin\s(?:the|this)\s(?:[a-z]+\s)?(?:{MEDIA}){EDGE}",
        rf"(?i)^\W*(?:what|who|where|how\smany|describe|identify|caption|classify|count|name)\s[^.\n]*?{EDGE}"
        rf"(?:this|the\s(?:following|given|above))\s(?:{MEDIA}){EDGE}{REST}",
        rf"(?i)^\W*(?:what|who|where|how\smany|which)\s[^.\n]*?\s(?:in|on)\s(?:the|this)\s(?:{MEDIA}){REST}",
        rf"(?i)^\W*(?:please\s)?(?:listen\sto|watch|look\sat|view|open|play)\s(?:this|the)\s(?:[a-z-]+\s){{0,2}}?"
        rf"(?:{MEDIA}|{FILES}|recording|song){EDGE}[^.?!:;\n]*[.?!]?\s*\z",
        r"!\[[^\]\n]*\]\([^)\n]*\)",
        r"(?i)(?:^|\n\n)\W*[\w-]+\.(?:jpe?g|png|gif|bmp|tiff?|webp|svg|pdf|docx?|xlsx?|pptx?|mp[34]|wav|avi|mov)\W*\z",
    ]
)
URL = r"(?:https?://|www\.)[^\s<>\"']+"
OF_CONTENT = "(?i)" + any_word(
    "summar\\w*|headlines?|read|review|describe\\w*|analy[sz]e|translate|classify|categori[sz]e|articles?|posts?"
    "|stor(?:y|ies)|content|pages?|sites?|images?|pictures?|videos?|photos?|paragraphs?|topics?|main|key"
    "|points?|sentiment|opinions?|tone|caption|transcribe|explain|paraphrase|rewrite|evaluate|who|author"
)
OF_ADDRESSES = "(?i)" + any_word(
    "urls?|domains?|shorten\\w*|pars\\w+|valid\\w*|protocols?|host\\w*|hyperlink\\w*|anchors?|html|markdown|code"
    "|scripts?|regex|python|java\\w*|curl|cit(?:e|ation)\\w*|bibliograph\\w*|formats?|tags?|query|endpoints?|api"
    "|phishing|legit\\w*|safe|browser|bookmark\\w*|visit|sources?"
)
# A response that says so is in order.
NOT_THERE = (
    r"(?i)(?:do\snot|don['’]t|cannot|can['’]t|didn['’]t|did\snot|couldn['’]t|unable\sto|not\sable\sto)\s"
    r"(?:\w+\s){0,2}?(?:see|view|open|access|find|have|receive|provide|include|attach)"
    r"|(?:please|could\syou|can\syou|need\syou\sto)\s(?:\w+\s){0,2}?"
    r"(?:provide|share|paste|attach|include|send|upload|give|supply|post|specify|tell|enter|type)"
    rf"|{EDGE}(?:no|not|without|missing)\s(?:\w+\s){{0,3}}?(?:provided|attached|given|included|attachments?)"
)
LONGEST_PROMPT, LONGEST_REST = 300, 160
# One of these stands in whatever the patterns find: in a prompt of one line, and in any.
POINTERS = ["following", "below", "given", "provided", "above", "attached", "aforementioned",
            "preceding", "this ", "these "]  # fmt: skip
HINTS = [
    "attach", "enclosed", "upload", "insert", "image", "picture", "photo", "video", "audio", "record",
    "screenshot", "diagram", "chart", "listen", "[file", "<file", "[doc", "<doc", "![",
    ".jp", ".png", ".gif", ".bmp", ".tif", ".webp", ".svg", ".pdf", ".doc", ".xls", ".ppt", ".mp",
    ".wav", ".avi", ".mov",
]  # fmt: skip
ADDRESSES = ["http", "www."]


def find_missing(rows: pl.DataFrame) -> pl.Series:
    """Return the words of prompts that speak of what they do not hold; null where the response says so.

    Args:
        rows: prompt, response and turns (how many: earlier ones may hold it).
    """
    prompt = pl.col("prompt").str.strip_chars()
    said = pl.col("response").str.contains(in_ascii(NOT_THERE))
    in_time = prompt.str.contains(rf"(?i){EDGE}following\s{SPAN}{EDGE}")
    alone = (pl.col("turns") == 2) & (pl.col("prompt").str.len_bytes() <= LONGEST_PROMPT)
    short = only(prompt, alone)
    one_line = only(short, ~short.str.contains("\n", literal=True))
    parts = [
        find_on_some(
            rows, text.str.contains_any(runtime, ascii_case_insensitive=True), part, unless
        )
        for text, runtime, part, unless in (
            (one_line, POINTERS, rare_piece(prompt, NOT_HELD), said | in_time),
            (short, HINTS, rare_piece(prompt, in_ascii(ATTACHED)), said),
            (short, ADDRESSES, _lone_address(prompt), said),
        )
    ]
    parts.append(missing_elsewhere(rows, one_line, prompt))
    return pl.select(pl.coalesce(parts).str.strip_chars()).to_series()


def _lone_address(prompt: pl.Expr) -> pl.Expr:
    """Return the address whose content a prompt speaks of; null where it is the address that counts."""
    rest = prompt.str.replace_all(URL, " ")
    of_content = (
        (rest.str.len_chars() <= LONGEST_REST)
        & rest.str.contains(OF_CONTENT)
        & ~rest.str.contains(OF_ADDRESSES)
    )
    return pl.when(of_content).then(piece(prompt, URL))
