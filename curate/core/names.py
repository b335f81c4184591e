"""Names of runs and sources: folders and row ids are made of them, in letters of any script."""

import unicodedata

# The longest file name of common file systems is 255 bytes; a run's folder needs some of them.
LONGEST_BYTES = 180


def check_name(text: str) -> str:
    """Return a name in Unicode's composed form (NFC), so that one name is one folder everywhere.

    Raises:
        ValueError: it holds other characters, is a way through folders, or is too long.
    """
    name = unicodedata.normalize("NFC", text)
    strange = next((c for c in name if not _is_name_character(c)), None)
    if strange is not None:
        raise ValueError(
            f"use letters, digits, '.', '_' and '-' only (not {strange!r}): folders and row ids are "
            "made of it"
        )
    if not name.strip("."):
        raise ValueError("use letters, digits, '.', '_' and '-', and not dots alone")
    if len(name.encode()) > LONGEST_BYTES:
        raise ValueError(f"too long: {len(name.encode())} bytes; {LONGEST_BYTES} are the most")
    return name


def _is_name_character(character: str) -> bool:
    # Marks (M) are parts of letters in many scripts: vowel signs of Hindi, tones of Vietnamese.
    return character in "._-" or unicodedata.category(character)[0] in "LNM"
