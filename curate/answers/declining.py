"""Refusals in German, French, Spanish, Russian, Chinese and Japanese, by how a response begins.

An apology or "as an AI language model", and in the same sentence that the writer cannot help, answer,
provide. Apologies for anything else, and what a person in a story cannot do, are left.
"""

from collections.abc import Mapping
from dataclasses import dataclass

LEAD = r"^[\s\"'«„“¡>*-]*"
GAP = r"[^.!?。！？\n]*?"


@dataclass(frozen=True)
class RefusalPatterns:
    """Patterns of what makes a refusal in a language.

    Args:
        sorry: apologies.
        cannot: after an apology: that the writer cannot help.
        machine: "as a language model".
        lacks: after that: that it cannot, or has none.
        signs: pieces of text of which every refusal holds one.
    """

    sorry: str
    cannot: str
    machine: str
    lacks: str
    signs: tuple[str, ...]

    @property
    def pattern(self) -> str:
        """Return the pattern of a response that begins by declining."""
        ways = ((self.sorry, self.cannot), (self.machine, self.lacks))
        return LEAD + "(?:" + "|".join(f"(?:{a}){GAP}(?:{b})" for a, b in ways) + ")"


LANGUAGES: Mapping[str, RefusalPatterns] = {
    "de": RefusalPatterns(
        r"(?:[Ee]s )?[Tt]ut mir (?:sehr )?leid|[Ee]ntschuldigung|[Ll]eider",
        rf"(?:ich kann|kann ich) {GAP}(?:nicht|keine?n?) {GAP}(?:helfen|beantworten|bereitstellen"
        r"|erfüllen|unterstützen|erstellen|verarbeiten|zugreifen|nachkommen)",
        r"[Aa]ls (?:eine? )?(?:KI|künstliche Intelligenz|(?:großes )?Sprachmodell)",
        rf"(?:ich (?:kann|habe|bin|darf)|(?:kann|habe|bin|darf) ich) {GAP}(?:nicht|kein)",
        ("mir leid", "mir sehr leid", "ntschuldigung", "eider", "KI", "Intelligenz", "Sprachmodell"),
    ),
    "fr": RefusalPatterns(
        r"(?:[Jj]e suis |[Nn]ous sommes )?(?:vraiment )?[Dd]ésolée?s?|[Mm]alheureusement",
        rf"je ne (?:peux|suis) pas {GAP}(?:aider|répondre|fournir|assister|accéder|générer|traiter)",
        r"[Ee]n tant qu(?:e |['’])(?:une? |grand )?(?:modèle (?:de langage|linguistique|d['’]IA)|IA"
        r"|intelligence artificielle|assistant (?:IA|virtuel))",
        r"je (?:ne (?:peux|suis|dispose|possède) |n['’]ai )(?:pas|aucun)",
        ("ésol", "alheureusement", "modèle", "IA", "intelligence artificielle", "assistant virtuel"),
    ),
    "es": RefusalPatterns(
        r"[Ll]o siento|[Ll]amentablemente",
        rf"no puedo {GAP}(?:ayudar|responder|proporcionar|cumplir|acceder|generar|procesar)",
        r"[Cc]omo (?:una? )?(?:modelo de (?:lenguaje|IA)|IA|inteligencia artificial"
        r"|asistente (?:de IA|virtual))",
        r"no (?:puedo|tengo|poseo|soy capaz)",
        ("siento", "amentablemente", "modelo de", "IA", "inteligencia", "asistente virtual"),
    ),
    "ru": RefusalPatterns(
        r"[Ии]звините|[Пп]ростите|[Пп]риношу извинения|[Кк] сожалению",
        rf"я не могу {GAP}(?:помочь|ответить|предоставить|выполнить|помогать|отвечать|обработать)",
        r"[Кк]ак (?:большая )?(?:языковая модель|ИИ|искусственный интеллект)",
        r"я не (?:могу|имею|способ)|у меня нет",
        ("звините", "ростите", "извинения", "сожалению", "языковая", "ИИ", "искусственный"),
    ),
    "zh": RefusalPatterns(
        r"(?:很|非常|十分)?(?:抱歉|对不起|對不起|遗憾|遺憾)",
        rf"我(?:无法|無法|不能){GAP}(?:帮助|幫助|协助|協助|回答|提供|完成|满足|滿足|处理|處理|生成|访问|訪問)",
        r"(?:作为|作為)一?[个個名种種款]?(?:大型)?(?:AI|人工智能|人工智慧|语言模型|語言模型)",
        r"我(?:无法|無法|不能|没有|沒有|不具备|不具備)",
        ("抱歉", "不起", "遗憾", "遺憾", "AI", "人工智", "言模型"),
    ),
    "ja": RefusalPatterns(
        r"(?:大変|誠に)?(?:申し訳|すみません|残念ながら)",
        rf"(?:お答え|お手伝い|お応え|回答|提供|対応|支援|アクセス|生成){GAP}(?:できません|できかねます|いたしかねます)",
        r"(?:私は)?(?:(?:AI|人工知能|大規模)(?:の)?)?言語モデル(?:として|なので|である|です)|(?:私は)?(?:AI|人工知能)(?:として|なので)",
        r"できません|できかねます|いたしかねます|ありません|持って(?:いません|おりません)",
        ("申し訳", "すみません", "残念ながら", "言語モデル", "AI", "人工知能"),
    ),
}  # fmt: skip
SIGNS = sorted({sign for language in LANGUAGES.values() for sign in language.signs})
DECLINES = "|".join(f"(?:{language.pattern})" for language in LANGUAGES.values())
