"""Languages of target, eval set, pool and selection: one line where all are the same, else a table."""

from collections.abc import Mapping
from dataclasses import dataclass

from curate.core.numerals import number
from curate.runs.folder import RunFolder
from curate.selectors.languages import POOL, SELECTED, LanguageShares, read_shares

TABLE = "evidence/languages"
LABELS = {"target": "target", "eval": "eval set", POOL: "pool", SELECTED: "selection"}
LISTED = 6
# Of the rows of every set: what is said in one line.
NEARLY_ALL = 0.95


@dataclass(frozen=True)
class SetLanguages:
    """The languages of the sets: shares of each, and a sentence in their place where all are the same.

    lines: the language and its share in each set of `names`.
    """

    names: tuple[str, ...]
    lines: tuple[tuple[str, tuple[float, ...]], ...]
    note: str
    sentence: str | None


def gather_set_languages(run: RunFolder) -> SetLanguages | None:
    """Return the languages of a run's sets, None where they are not stored or hardly any can be told."""
    if not run.has(TABLE):
        return None
    stored = read_shares(run.table(TABLE).collect())
    sets = {name: shares for name, shares in stored.items() if shares.main is not None}
    if not sets:
        return None
    most = {
        code: max(one.share(code) for one in sets.values())
        for one in sets.values()
        for code in one.rows
    }
    codes = sorted(most, key=lambda code: (-most[code], code))[:LISTED]
    lines = tuple((code, tuple(one.share(code) for one in sets.values())) for code in codes)
    names = tuple(LABELS[name] for name in sets)
    return SetLanguages(names, lines, _note(sets, len(most)), _sentence(sets, codes[0]))


def _sentence(sets: Mapping[str, LanguageShares], code: str) -> str | None:
    """Return that all sets are in one language; None where they are not."""
    if min(one.share(code) for one in sets.values()) < NEARLY_ALL:
        return None
    *names, last = (LABELS[name] for name in sets)
    listed = f"{', '.join(names)} and {last}" if names else last
    return f"Language of {listed}: {code}, as far as it can be told."


def _note(sets: Mapping[str, LanguageShares], count: int) -> str:
    """Return what the shares are of."""
    rows = "; ".join(
        f"{LABELS[name]} {number(one.identified)} of {number(one.read)} rows"
        + (f" drawn from {number(one.of)}" if one.read < one.of else "")
        for name, one in sets.items()
    )
    most = f"The {LISTED} with the largest share of any set, of {count}. " if count > LISTED else ""
    return (
        f"{most}Shares of the rows whose language can be told ({rows}): that of the response, or of the "
        "prompt where the response is too short."
    )
