r"""Another task in the row of one: what a generator wrote on, or a list of tasks that was cut wrongly.

    It depends on your goals.\n##\n18. Instruction: Name the noun
    Paris.\n\n### Instruction:\nTranslate ...
    Blue.\n\nQuestion: What is 2 + 2?\nAnswer: 4

Labels of a line, in English and the languages of wordings. A prompt that speaks of questions, examples
or the like may ask for such.
"""

import polars as pl

from curate.clean.heuristics.signs import without_code
from curate.clean.heuristics.wordings import MERGED, MERGED_MARKS, TASKS
from curate.text.patterns import any_word, find_on_some, only, piece

LABEL = r"(?:\d{1,3}\s*[.):]\s*)"
# No text has these by chance.
SURE = "|".join(
    [
        rf"(?im){LABEL}(?:instruction|task description)s?\s*:",
        r"(?im)^#{2,5}\s*(?:instruction|input|output|response|human|user|assistant)s?\s*\d*\s*(?::|$)",
        r"(?m)^#{2,5}[ \t]*(?:\n|\z)",
        r"<\|endoftext\|>\s*\S",
    ]
)
LIKELY = "|".join(
    [
        r"(?im)^\W{0,4}(?:new |next |another )?(?:instruction|task)\s*(?:#?\d{1,3})?\s*:",
        r"(?im)^(?:human|user)\s*:[^\n]*\n+(?:assistant|ai|bot|gpt)\s*:",
        rf"(?im)^{LABEL}?(?:task )?input\s*:[^\n]*\n(?:[^\n]*\n){{0,20}}?{LABEL}?output\s*:",
        r"(?im)\n\s*(?:q|question)\s*\d*\s*[:.][^\n]*\n+\s*(?:a|answer)\s*\d*\s*[:.]",
    ]
)
# One of these stands in whatever the patterns find.
MARKS = ["instruction", "task", "input", "output:", "# output", "# response", "# assistant", "human",
         "user", "question", "\nq", "<|endoftext|>", "#\n", "# \n", "#\t"]  # fmt: skip
PROMPT_MARKS = ["instruction", ". input", ". output", "#\n", "# \n"]
LONGEST_PROMPT = 2_000
# In a prompt examples may stand with such labels; numbered ones are those of a list of tasks.
LISTED = (
    r"(?im)[.?!][ \t]+instruction\s*:|^\s*\d{1,3}\s*\.\s(?:instruction|input|output)\s*:"
    rf"|^#{{2,5}}[ \t]*\n\s*{LABEL}"
)
OF_TASKS = "(?i)" + any_word(
    "instructions?|inputs?|outputs?|examples?|questions?|quiz\\w*|q ?& ?a|q and a|faqs?|interviews?"
    "|problems?|riddles?|trivia|tests?|exams?|conversations?|dialog(?:ue)?s?|chats?|scripts?|transcripts?"
    "|prompts?|tasks?|recipes?|steps?|markdown|headings?|headers?|sections?|templates?|survey|poll"
)


def find_merged(rows: pl.DataFrame) -> pl.Series:
    """Return the label with which another task begins; null where the prompt speaks of such.

    Args:
        rows: prompt and response.
    """
    prompt, response = pl.col("prompt"), pl.col("response")
    short = only(prompt, prompt.str.len_bytes() <= LONGEST_PROMPT)
    plain = without_code(response)
    marked = response.str.contains_any(MARKS, ascii_case_insensitive=True)
    parts = [
        find_on_some(rows, marked | response.str.ends_with("##"), piece(plain, SURE)),
        find_on_some(rows, marked, piece(plain, LIKELY), unless=prompt.str.contains(OF_TASKS)),
        find_on_some(
            rows,
            short.str.contains_any(PROMPT_MARKS, ascii_case_insensitive=True),
            piece(short, LISTED),
        ),
    ]
    parts.append(
        find_on_some(
            rows,
            response.str.contains_any(MERGED_MARKS),
            piece(plain, MERGED),
            unless=prompt.str.contains(OF_TASKS) | prompt.str.contains(TASKS),
        )
    )
    return pl.select(pl.coalesce(parts).str.strip_chars()).to_series()
