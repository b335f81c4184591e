"""Chat templates that write today's date: pinned, so that a row is read alike on any day.

Llama 3.1 and later, among others, put `strftime_now("%d %b %Y")` into the system turn. It would make the
tokens of every row, and all that is measured on them, depend on the day.
"""

import re
from datetime import date

# The date that Llama 3.1's own template falls back to where it cannot ask for today's.
PINNED_DATE = date(2024, 7, 26)
CALL = re.compile(r"""strftime_now\s*\(\s*(?P<quote>["'])(?P<form>.*?)(?P=quote)\s*\)""")
# For calls whose format is no literal: a macro comes before the function of that name.
MACRO = "{%- macro strftime_now(form) -%}" + PINNED_DATE.strftime("%d %b %Y") + "{%- endmacro -%}"


def pin_date(template: str) -> str:
    """Return a chat template that writes PINNED_DATE wherever it would write today's date."""
    pinned = CALL.sub(lambda call: repr(PINNED_DATE.strftime(call["form"])), template)
    calls = re.search(r"strftime_now\s*\(", pinned)
    return MACRO + pinned if calls else pinned
