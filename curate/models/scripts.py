"""Scripts that an embedder covers: in which unlike sentences have unlike vectors.

An English embedder meets Russian as single letters and Chinese as bytes, and gives nearly all such texts
one vector: the mean cosine of unlike sentences in `static` is .02 in English, and .6 to .9 in scripts
that it does not cover. Here every script has a few unlike sentences. One whose sentences are less
alike than those in Latin script, but for MARGIN, is covered. A text is covered unless a tenth of its
letters are of other scripts.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Counted, Table, cached
from curate.core.fixedpoint import cosines
from curate.text.compared import compared_text

VERSION = 1
BATCH_ROWS = 8_192
MARGIN = 0.2
SHARE = 0.1
LETTER = r"\p{L}"
LATIN = "Latin"
# Weather, food, law, music, an engine: by script, as regular expressions name it.
PROBES: Mapping[str, tuple[str, ...]] = {
    LATIN: (
        "It will rain in the north tomorrow.",
        "Fry the onions in a little oil.",
        "The court dismissed the appeal.",
        "She learned to play the violin.",
        "The engine needs a new valve.",
    ),
    "Cyrillic": (
        "Завтра на севере пойдёт дождь.",
        "Обжарьте лук в масле.",
        "Суд отклонил жалобу.",
        "Она научилась играть на скрипке.",
        "Двигателю нужен новый клапан.",
    ),
    "Greek": (
        "Αύριο θα βρέξει στον βορρά.",
        "Τηγανίστε τα κρεμμύδια.",
        "Το δικαστήριο απέρριψε την έφεση.",
        "Έμαθε να παίζει βιολί.",
        "Ο κινητήρας θέλει νέα βαλβίδα.",
    ),
    "Hebrew": (
        "מחר ירד גשם בצפון.",
        "טגנו את הבצל בשמן.",
        "בית המשפט דחה את הערעור.",
        "היא למדה לנגן בכינור.",
        "המנוע צריך שסתום חדש.",
    ),
    "Arabic": (
        "ستمطر غدا في الشمال.",
        "اقلي البصل في الزيت.",
        "رفضت المحكمة الطعن.",
        "تعلمت العزف على الكمان.",
        "يحتاج المحرك إلى صمام جديد.",
    ),
    "Devanagari": (
        "कल उत्तर में बारिश होगी।",
        "प्याज को तेल में भूनें।",
        "अदालत ने अपील खारिज की।",
        "उसने वायलिन बजाना सीखा।",
        "इंजन को नया वाल्व चाहिए।",
    ),
    "Bengali": (
        "কাল উত্তরে বৃষ্টি হবে।",
        "পেঁয়াজ তেলে ভাজুন।",
        "আদালত আপিল খারিজ করেছে।",
        "সে বেহালা বাজাতে শিখেছে।",
        "ইঞ্জিনে নতুন ভালভ লাগবে।",
    ),
    "Tamil": (
        "நாளை வடக்கில் மழை பெய்யும்.",
        "வெங்காயத்தை எண்ணெயில் வதக்கவும்.",
        "நீதிமன்றம் மனுவை நிராகரித்தது.",
        "அவள் வயலின் வாசிக்கக் கற்றாள்.",
        "இயந்திரத்துக்கு புதிய வால்வு தேவை.",
    ),
    "Thai": (
        "พรุ่งนี้ฝนจะตกทางเหนือ",
        "ผัดหัวหอมในน้ำมัน",
        "ศาลยกคำอุทธรณ์",
        "เธอเรียนไวโอลิน",
        "เครื่องยนต์ต้องเปลี่ยนวาล์ว",
    ),
    "Georgian": (
        "ხვალ ჩრდილოეთში წვიმა იქნება.",
        "მოშუშეთ ხახვი ზეთში.",
        "სასამართლომ საჩივარი უარყო.",
        "მან ვიოლინოზე დაკვრა ისწავლა.",
        "ძრავას ახალი სარქველი სჭირდება.",
    ),
    "Armenian": (
        "Վաղը հյուսիսում անձրև կգա։",
        "Սոխը տապակեք ձեթով։",
        "Դատարանը մերժեց բողոքը։",
        "Նա սովորեց ջութակ նվագել։",
        "Շարժիչին նոր փական է պետք։",
    ),
    "Hangul": (
        "내일 북쪽에 비가 옵니다.",
        "양파를 기름에 볶으세요.",
        "법원이 항소를 기각했다.",
        "그녀는 바이올린을 배웠다.",
        "엔진에 새 밸브가 필요하다.",
    ),
    "Hiragana": (
        "あしたはきたであめがふります。",
        "たまねぎをあぶらでいためてください。",
        "さいばんしょはうったえをしりぞけた。",
        "かのじょはことをならった。",
        "きかいのぶひんをかえよう。",
    ),
    "Katakana": (
        "エンジンノバルブ",
        "アイスクリーム",
        "バイオリンレッスン",
        "ホテルノレストラン",
        "テレビニュース",
    ),
    "Han": (
        "明天北方会下雨。",
        "把洋葱放在油里炒。",
        "法院驳回了上诉。",
        "她学会了拉小提琴。",
        "发动机需要换新阀门。",
    ),
}
Embed = Callable[[Sequence[str]], NDArray[np.float32]]


def covered_scripts(embed: Embed) -> tuple[str, ...]:
    """Return the scripts of PROBES that an embedder covers, Latin among them in any case.

    Args:
        embed: returns the unit vectors [N, d] of texts, zeros for one without a known token.
    """
    likeness = {script: _likeness(embed(texts)) for script, texts in PROBES.items()}
    return tuple(
        script
        for script, value in likeness.items()
        if script == LATIN or value <= likeness[LATIN] + MARGIN
    )


def _likeness(vectors: NDArray[np.float32]) -> float:
    """Return the mean cosine of different vectors; infinity if a vector says nothing."""
    if not vectors.any(axis=1).all():
        return float("inf")
    return float(cosines(vectors, vectors)[np.triu_indices(len(vectors), 1)].mean())


def is_uncovered(texts: pl.Series, covered: Sequence[str]) -> pl.Series:
    """Return which texts have SHARE of their letters or more in scripts that are not covered."""
    # Pure ASCII, which most texts are, is not looked at.
    wide = texts.str.len_bytes() != texts.str.len_chars()
    some = texts.filter(wide)
    other = some.str.count_matches(_letters_but(covered))
    uncovered = (other > 0) & (other >= SHARE * some.str.count_matches(LETTER))
    return wide.scatter(wide.arg_true(), uncovered)


def main_scripts(texts: pl.Series, covered: Sequence[str]) -> pl.Series:
    """Return the script of PROBES, not covered, that most letters of each text are of, or "other"."""
    names = [script for script in PROBES if script not in covered]
    counts = texts.to_frame("text").select(
        pl.lit(0).alias("none"),
        *(pl.col("text").str.count_matches(rf"\p{{{name}}}").alias(name) for name in names),
    )
    most = pl.max_horizontal(pl.all())
    first = pl.coalesce(
        pl.when(pl.col(name).eq(most) & (most > 0)).then(pl.lit(name)) for name in names
    )
    return counts.select(script=first.fill_null("other") if names else pl.lit("other"))["script"]


@cached(version=VERSION, name="scripts")
def scripts(rows: Table, covered: Sequence[str]) -> Counted[pl.DataFrame]:
    """Return row_id and script of the rows whose script is not covered."""
    return Counted(uncovered_rows(rows, covered), {"rows_in": rows.height})


def uncovered_rows(table: Table, covered: Sequence[str]) -> pl.DataFrame:
    """Return row_id and script of the rows of a table whose script is not covered."""
    text = compared_text("example").fill_null("")
    rows = table.scan().select("row_id", text=text)
    parts = [pl.DataFrame(schema={"row_id": pl.String, "script": pl.String})]
    for batch in rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
        some = batch.filter(is_uncovered(batch["text"], covered))
        if some.height:
            script = main_scripts(some["text"], covered)
            parts.append(some.select("row_id").with_columns(script=script))
    return pl.concat(parts)


def script_sentences(rows: pl.DataFrame) -> list[str]:
    """Return what is to be told of rows in scripts that the embedder does not cover."""
    if not rows.height:
        return []
    counts = rows.group_by("script").len().sort("len", "script", descending=[True, False])
    named = ", ".join(f"{script} {count:,}" for script, count in counts.iter_rows())
    return [
        f"{rows.height:,} row{'s are' if rows.height > 1 else ' is'} in scripts that the embedder does "
        f"not cover ({named}); similarities of theirs are those of character n-grams, not of meaning"
    ]


def _letters_but(scripts: Sequence[str]) -> str:
    own = "".join(rf"\p{{{script}}}" for script in scripts)
    return rf"[\p{{L}}--[{own}]]"
