"""What responses conclude: the answer that they announce, and the words that affirm or deny.

    "... all things considered, the answer is (B)."      (b)
    "Yes, the passage says so."                          yes
    "The statement is not true."                         not true

Long responses that conclude otherwise can share nearly all of their n-grams.
"""

import polars as pl

ANNOUNCED = r"(?:####|\\boxed\s*\{|\banswer[*_ ]*(?:is|:|=))[^\n.!?}]*"
INTRODUCTION = r"^(?:####|\\boxed\s*\{|answer[*_ ]*(?:is|:|=))"
# English, German, French, Spanish, Russian, Arabic, Hindi; Chinese and Japanese, which put no spaces.
SPACED = (
    r"yes|no|not|never|none|neither|nor|cannot|true|false|correct|incorrect|right|wrong|positive"
    r"|negative|ja|nein|nicht|kein\w*|wahr|falsch|richtig|oui|non|pas|jamais|vrai|faux|sí|nunca"
    r"|verdadero|falso|да|нет|не|никогда|верно|неверно|نعم|لا|ليس|صحيح|خطأ|हाँ|हां|नहीं|सही|गलत"
)
UNSPACED = r"不|没|沒|否|未|非|是|对|對|错|錯|はい|いいえ|ない|ません|正しい|間違"
STANCE = rf"\b(?:{SPACED})\b|n['’]t\b|{UNSPACED}"
SIGNS = r"[\s()\[\]{}$*_`\"']"


def stances(responses: pl.Expr) -> pl.Expr:
    """Return as one text the last answer that each response announces, and its words of stance."""
    plain = responses.str.to_lowercase()
    announced = plain.str.extract_all(ANNOUNCED).list.last().str.replace(INTRODUCTION, "")
    words = plain.str.extract_all(STANCE).list.join(" ")
    return pl.concat_str(announced.str.replace_all(SIGNS, "").fill_null(""), words, separator="\n")
