from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from curate.proof.statistics import WITHIN
from curate.report.build import TEMPLATES, write_report
from curate.report.inline_script import read_script

MakeRun = Callable[..., Path]
VOID = {"meta", "wbr", "br", "img", "link", "hr", "input"}
HOSTILE = (
    "<script>alert(1)</script></style></title>\"'><img src=x onerror=alert(1)>{{ 7*7 }}{% x %}"
)


class Page(HTMLParser):
    """What a page holds: its elements, their attributes and text, and whether tags match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source = text
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.styles: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        places = {"style": self.styles, "script": self.scripts}
        places.get(self.open[-1] if self.open else "", self.texts).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


MakePage = Callable[..., Page]


def page_of(run: Path) -> Page:
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert page.open == []
    return page


def words_of(run: Path) -> str:
    return page_of(run).text


@pytest.fixture(scope="module")
def page(shared_run: MakeRun) -> Callable[..., Page]:
    """Return a function that gives the page of a run to a spec, made once for all tests."""
    return cache(lambda **spec: page_of(shared_run(**spec)))


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"method": "random"},
        {"verdict": None},
        {"verdict": "refused", "leaking": True},
        {"leaking": True},
        {"duplicates": 0, "leaks": 0, "rejects": ()},
        {"rows": 18, "selected": 10},
        {"compared": ("bm25", "random")},
    ],
)
def test_text_of_users_is_never_markup(make_run: MakeRun, spec: dict[str, object]) -> None:
    page = page_of(make_run(taint=HOSTILE, **spec))
    check_markup(page)
    assert page.tags.count("style") == page.tags.count("title") == page.tags.count("h1") == 1
    assert "alert" not in "".join(page.styles)
    assert HOSTILE in "".join(page.texts)
    assert "49" not in page.texts


def check_markup(page: Page) -> None:
    """Fail unless the page's own script and the data that it reads are all that could act."""
    assert not {"img", "link", "iframe", "object", "form", "base"} & set(page.tags)
    data, code = page.scripts
    assert code == read_script(TEMPLATES).code and "<" not in data
    assert page.tags.count("script") == 2
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_the_page_refers_to_nothing_outside_itself(make_run: MakeRun) -> None:
    run = make_run(taint=' style="background:url(http://example.org/x)"', compared=("random",))
    page = page_of(run)
    targets = [value for name, value in page.attributes if name in {"href", "src", "srcset"}]
    assert targets
    assert all(target.startswith(("#", "../")) for target in targets)
    assert not re.search(r"url\(|@import|https?:", "".join(page.styles))
    assert not [
        v for n, v in page.attributes if n == "style" and not re.match(r"width:[\d.]+%$", v)
    ]
    policies = [value for _, value in page.attributes if value.startswith("default-src")]
    allowed = f"script-src '{read_script(TEMPLATES).digest}'"
    assert policies == [f"default-src 'none'; {allowed}; style-src 'unsafe-inline'; img-src data:"]


def test_every_link_leads_to_a_section(page: MakePage) -> None:
    attributes = page(compared=("bm25",)).attributes
    ids = [value for name, value in attributes if name == "id"]
    links = [v[1:] for name, v in attributes if name == "href" and not v.startswith("../")]
    assert set(links) <= set(ids)
    assert len(ids) == len(set(ids))


def test_headings_go_down_one_level_at_a_time(page: MakePage) -> None:
    tags = page(compared=("bm25",)).tags
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_figure_has_a_caption_and_words(page: MakePage) -> None:
    for spec, count in ({}, 9), ({"compared": ("bm25",)}, 11):
        document = page(**spec)
        assert document.tags.count("svg") == count
        assert document.tags.count("figcaption") == document.tags.count("figure") == count
        words = [value for name, value in document.attributes if name == "aria-label"]
        assert len([word for word in words if word.endswith(".")]) == count


@pytest.mark.parametrize(
    ("spec", "verdict"),
    [
        ({}, "The selection is better than random"),
        ({"verdict": "worse"}, "The selection is worse than random"),
        ({"verdict": WITHIN}, "The selection is within the range of random draws"),
        ({"verdict": "refused", "leaking": True}, "Proof refused: the eval set leaks"),
        ({"verdict": None}, "No proof was asked for"),
    ],
)
def test_the_verdict_is_told_in_words(
    page: MakePage, spec: dict[str, object], verdict: str
) -> None:
    document = page(**spec)
    assert re.search(rf'<h2 class="verdict[^"]*">{verdict}</h2>', document.source)
    assert ("A sentence of the proof." in document.source) == (spec.get("verdict", "") is not None)


def test_leaks_that_were_allowed_are_warned_of(page: MakePage) -> None:
    words = page(leaking=True).text
    assert "The selection is better than random, but the eval set leaks" in words
    assert "Do not trust this result." in words
    assert "1 training row holds an eval prompt" in words


def test_the_proof_says_what_its_verdict_rests_on(page: MakePage) -> None:
    words = page().text
    assert "9 random draws, each trained with a seed of its own, have a spread of 0.1" in words
    assert "can show a difference above 0.24" in words
    assert "rank 2 of 10" in words
    assert "sets that score higher train a better model here" in words
    assert "judged together" not in words
    together = page(judged=2, proved=("rds", "dsir-2")).text
    assert "2 selections are judged together" in together
    assert "dsir-2 within the range of random draws +0.0236 (±0.0363) against as many" in " ".join(
        together.split()
    )


def test_each_metric_says_what_it_measures_and_which_one_decides(page: MakePage) -> None:
    words = " ".join(page().text.split())
    assert "Loss decides the verdict" in words
    assert "Exact match no verdict" in words
    assert "nats per response token; lower is better" in words
    assert "the very token that the model finds likeliest, up to the end; higher is better" in words


def test_a_proof_of_an_earlier_rule_is_answered_by_one_sentence(make_run: MakeRun) -> None:
    run = make_run()
    proof = json.loads((run / "proof.json").read_text())
    del proof["rule"]
    for comparison in proof["comparisons"]:
        for key in ("half", "another_draw", "estimate", "by_draw", "draws"):
            del comparison[key]
        comparison |= {"low": -0.01, "high": 0.06, "by_seed": [0.0], "verdict": "better"}
    (run / "proof.json").write_text(json.dumps(proof))
    source = write_report(run).read_text()
    assert "Judged by an earlier rule" in source
    assert "Run the recipe again to have it judged" in source
    assert "better than random" not in source


def test_a_random_draw_says_why_there_are_no_scores(page: MakePage) -> None:
    words = page(method="random").text
    assert "it gives no scores and looks at no target examples" in words


def test_turns_of_the_target_examples_are_explained(page: MakePage) -> None:
    words = page().text
    assert (
        "4 rows scored higher and were not selected, so this is no threshold: the target" in words
    )


def test_a_lost_store_is_told(make_run: MakeRun) -> None:
    run = make_run()
    shutil.rmtree(run.parent / "store")
    words = words_of(run)
    assert "The store no longer has the rows of the pool, target, eval" in words
    assert "Its text is no longer in the store." in words
    assert "a.jsonl:11" in words


def test_nothing_left_out_is_told(make_run: MakeRun) -> None:
    words = words_of(make_run(rows=10, selected=10, duplicates=0, leaks=0, rejects=()))
    assert "the budget covers every kept row" in words
    assert "No stage dropped a row." in words
    assert "Every record made a row." in words


def test_the_same_run_makes_the_same_bytes_wherever_it_lies(
    make_run: MakeRun, drawn: dict[Any, Any], tmp_path: Path
) -> None:
    run = make_run()
    first = write_report(run).read_bytes()
    drawn.clear()
    assert write_report(run).read_bytes() == first
    moved = tmp_path / "elsewhere"
    shutil.copytree(run, moved)
    assert write_report(moved).read_bytes() == first


def test_the_page_is_replaced_as_a_whole(make_run: MakeRun) -> None:
    run = make_run()
    path = write_report(run)
    before = path.read_bytes()
    (run / "ledger.parquet").unlink()
    with pytest.raises(Exception, match="ledger"):
        write_report(run)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["index.html"]


def test_long_texts_do_not_make_a_large_page(make_run: MakeRun) -> None:
    run = make_run(rows=120, selected=40, duplicates=30, text=lambda i: "長い文 " * 25_000)
    assert write_report(run).stat().st_size < 1_000_000


def test_text_of_any_script_arrives_as_it_is(make_run: MakeRun) -> None:
    words = words_of(make_run(text=lambda i: "你好 مرحبا 👩\u200d🔬 ñ ´ \u00a0"))
    assert "你好 مرحبا 👩\u200d🔬 ñ ´" in words
