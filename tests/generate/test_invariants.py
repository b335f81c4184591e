"""What a translation leaves as it is: code, links, placeholders, numbers, options, keys."""

from __future__ import annotations

import pytest

from curate.generate.invariants import find_changed_invariant


@pytest.mark.parametrize(
    ("source", "translation", "change"),
    [
        ("Add 7.5 and 1,200.", "Addiere 7,5 und 1.200.", None),
        ("Add 7.5 and 12.", "Addiere 7,5 und 13.", "number: '12' is lost"),
        ("Add it.", "Addiere 2 dazu.", "number: '2' is new"),
        ("Run `ls -l` there.", "Führe dort `ls -l` aus.", None),
        ("Run `ls -l` there.", "Führe dort `ls` aus.", "code or link: '`ls -l`' is lost"),
        ("Say:\n```\nx = 1\n```", "Sag:\n```\ny = 1\n```", "code or link: '```\\nx = 1\\n```' is lost"),
        ("See https://a.org/x.", "Siehe https://a.org/x an.", None),
        ("See https://a.org/x.", "Siehe https://a.org/y.", "code or link: 'https://a.org/x' is lost"),
        ("Dear {name}, hi", "Liebe {name}, hallo", None),
        ("Dear {name}, hi", "Liebe {Name}, hallo", "placeholder: '{name}' is lost"),
        ("Dear {{ name }}, hi", "Liebe Ann, hallo", "placeholder: '{{ name }}' is lost"),
        ("It has %d of %(kind)s.", "Es hat %(kind)s.", "placeholder: '%d' is lost"),
        ("It is 5% down.", "Es sind 5 % weniger.", None),
        ("Cost: {0:.2f}", "Kosten: {0:.2f} {1}", "placeholder: '{1}' is new"),
        ("So <b>bold</b>.", "So <b>fett</b>.", None),
        ("So <b>bold</b>.", "So <i>fett</i>.", "placeholder: '</b>' is lost"),
        ("Fill [MASK] in.", "Setze [MASKE] ein.", "placeholder: '[MASK]' is lost"),
        ("Which?\nA) sea\nB) land", "Welches?\nA) Meer\nB) Land", None),
        ("Which?\nA) sea\nB) land", "Welches?\nA) Meer\nC) Land", "option: 'B' is lost"),
        ("Which? (A) sea (B) land", "Welches? (A) Meer", "option: 'B' is lost"),
        ("B", "C", "option: 'B' is lost"),
        ("(B)", "B.", None),
        ('{"city": "Rome", "n": 2}', '{"city": "Rom", "n": 2}', None),
        ('{"city": "Rome", "n": 2}', '{"Stadt": "Rom", "n": 2}', "key: 'city' is lost"),
        ('Write {"city": "..."} now', 'Schreib {"Stadt": "..."} jetzt', "key: 'city' is lost"),
        ('He said "no": he left.', 'Er sagte „nein“: er ging.', None),
        ('{"a": ["x", true]}', '{"a": ["y", false]}', "JSON: its structure is another one"),
        ('["x"]', "y", "JSON: it is none any more"),
    ],
)  # fmt: skip
def test_what_stays(source: str, translation: str, change: str | None) -> None:
    assert find_changed_invariant(source, translation) == change
    assert find_changed_invariant(source, source) is None
