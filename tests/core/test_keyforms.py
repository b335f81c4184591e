"""Forms of keys: those of many services are found whole, and names, hashes and code are left."""

from __future__ import annotations

import base64
import uuid

import numpy as np
import polars as pl
import pytest

from curate.clean.heuristics.personal import find_personal
from curate.clean.pii import detectors_of
from curate.core.keyforms import INNER, KEY_FORMS, MARKED, is_key

SECRETS = detectors_of(["secret"])
RNG = np.random.default_rng(7)
LOWER = "abcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"
LETTERS = LOWER + LOWER.upper() + DIGITS
HEX = DIGITS + "abcdef"


def draw(size: int, alphabet: str = LETTERS) -> str:
    """Return random letters of an alphabet, a digit among them."""
    drawn = "".join(RNG.choice(list(alphabet), size - 1))
    return f"{drawn[: size // 2]}7{drawn[size // 2 :]}"


def upper(size: int) -> str:
    return draw(size, LOWER.upper() + DIGITS)


# Keys that need no word beside them.
KEYS = {
    "aws": f"AKIA{upper(16)}",
    "aws session": f"ASIA{upper(16)}",
    "google": f"AIza{draw(35)}",
    "google oauth": f"GOCSPX-{draw(28)}",
    "google access": f"ya29.{draw(120)}",
    "azure storage": base64.b64encode(RNG.bytes(64)).decode(),
    "azure application": f"{draw(3)}8Q~{draw(34)}",
    "azure openai": f"{draw(52)}JQQJ99{upper(26)}"[:84],
    "azure devops": f"{draw(76)}AZDO{draw(4)}",
    "alibaba": f"LTAI{draw(20)}",
    "tencent": f"AKID{draw(32)}",
    "digitalocean": f"dop_v1_{draw(64, HEX)}",
    "databricks": f"dapi{draw(32, HEX)}",
    "databricks, with a number": f"dapi{draw(32, HEX)}-2",
    "vault": f"hvs.{draw(90)}",
    "terraform": f"{draw(14)}.atlasv1.{draw(67)}",
    "pulumi": f"pul-{draw(40, HEX)}",
    "doppler": f"dp.pt.{draw(43)}",
    "openai": f"sk-{draw(48)}",
    "openai project": f"sk-proj-{draw(60)}_{draw(60)}",
    "anthropic": f"sk-ant-api03-{draw(93)}AA",
    "openrouter": f"sk-or-v1-{draw(64, HEX)}",
    "groq": f"gsk_{draw(52)}",
    "hugging face": f"hf_{draw(34)}",
    "nvidia": f"nvapi-{draw(64)}",
    "perplexity": f"pplx-{draw(48)}",
    "xai": f"xai-{draw(80)}",
    "replicate": f"r8_{draw(37)}",
    "langsmith": f"lsv2_pt_{draw(32, HEX)}_{draw(10, HEX)}",
    "github": f"gho_{draw(36)}",
    "github, fine-grained": f"github_pat_{draw(22)}_{draw(59)}",
    "gitlab": f"glpat-{draw(20)}",
    "gitlab runner": f"glrt-{draw(20)}",
    "atlassian": f"ATATT3{draw(186)}",
    "npm": f"npm_{draw(36)}",
    "pypi": f"pypi-{draw(100)}",
    "rubygems": f"rubygems_{draw(48, HEX)}",
    "docker": f"dckr_pat_{draw(27)}",
    "postman": f"PMAK-{draw(24, HEX)}-{draw(34, HEX)}",
    "new relic": f"NRAK-{upper(27)}",
    "grafana": f"glsa_{draw(32)}_{draw(8, HEX)}",
    "sentry": f"sntryu_{draw(64, HEX)}",
    "slack": f"xoxb-{draw(12, DIGITS)}-{draw(12, DIGITS)}-{draw(24)}",
    "slack webhook": f"hooks.slack.com/services/T{upper(8)}/B{upper(10)}/{draw(24)}",
    "discord bot": f"M{draw(23)}.{draw(6)}.{draw(27)}",
    "telegram": f"{draw(10, DIGITS)}:AA{draw(33)}",
    "stripe": f"sk_live_{draw(24)}",
    "stripe, for tests": f"rk_test_{draw(24)}",
    "sendgrid": f"SG.{draw(22)}.{draw(43)}",
    "twilio": f"SK{draw(32, HEX)}",
    "twilio account": f"AC{draw(32, HEX)}",
    "mailgun": f"key-{draw(32, HEX)}",
    "mailchimp": f"{draw(32, HEX)}-us12",
    "brevo": f"xkeysib-{draw(64, HEX)}-{draw(16)}",
    "shopify": f"shpat_{draw(32, HEX)}",
    "square": f"sq0csp-{draw(43)}",
    "linear": f"lin_api_{draw(40)}",
    "notion": f"ntn_{draw(46)}",
    "figma": f"figd_{draw(40)}",
    "planetscale": f"pscale_tkn_{draw(43)}",
    "airtable": f"pat{draw(14)}.{draw(64, HEX)}",
    "google refresh": f"1//0{draw(60)}",
    "bedrock": f"ABSK{draw(128)}",
    "cloudflare origin": f"v1.0-{draw(24, HEX)}-{draw(146, HEX)}",
    "netlify": f"nfp_{draw(36)}",
    "openshift": f"sha256~{draw(43)}",
    "dynatrace, small letters": f"dt0c01.{draw(24)}.{draw(64)}",
    "pinecone": f"pcsk_{draw(70)}",
    "elevenlabs": f"sk_{draw(48, HEX)}",
    "circleci": f"CCIPAT_{draw(22)}_{draw(40, HEX)}",
    "buildkite": f"bkua_{draw(40, HEX)}",
    "harness": f"pat.{draw(22)}.{draw(24)}.{draw(20)}",
    "octopus": f"API-{upper(26)}",
    "sourcegraph": f"sgp_{draw(16, HEX)}_{draw(40, HEX)}",
    "launchdarkly": f"sdk-{uuid.UUID(int=3**80)}",
    "1password": f"ops_eyJ{draw(260)}",
    "1password, secret key": f"A3-{upper(6)}-{upper(6)}-{upper(5)}-{upper(5)}-{upper(5)}-{upper(5)}",
    "square, production": f"EAAA{draw(60)}",
    "facebook": f"EAACEdEose0cBA{draw(90)}",
    "easypost": f"EZAK{draw(54)}",
    "hubspot": f"pat-na1-{uuid.UUID(int=5**55)}",
    "plaid": f"access-sandbox-{uuid.UUID(int=7**45)}",
    "clickup": f"pk_{draw(8, DIGITS)}_{upper(32)}",
    "contentful": f"CFPAT-{draw(43)}",
    "typeform": f"tfp_{draw(44)}_{draw(14)}",
    "dropbox": f"sl.{draw(138)}",
    "mapbox": f"sk.eyJ{draw(60)}.{draw(22)}",
    "twitter": f"{'A' * 22}{draw(80)}",
    "firebase": f"{draw(11)}:APA91b{draw(134)}",
    "jwt": f"eyJ{draw(40)}.eyJ{draw(60)}.{draw(43)}",
}
# Pieces that are found by what stands in front of them: the text before, the piece, the text behind.
NAMED = [
    ("aws_secret_access_key = ", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""),
    ("AWS_SECRET_ACCESS_KEY=", "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY", "\n"),
    ('"awsSecretKey": "', "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY", '"'),
    ("export aws_session_token='", draw(40), "'"),
    ("Authorization: Bearer ", "Ab3" * 12, ""),
    ('-H "Authorization: Bearer ', draw(40), '"'),
    ("the header `bearer ", draw(24), "` of it"),
    ("Authorization: Basic ", base64.b64encode(b"admin:s3cr3t-pw-1").decode(), ""),
    ('{"Authorization": "token ', draw(40, HEX), '"}'),
    ("AccountName=a;AccountKey=", base64.b64encode(RNG.bytes(64)).decode(), ";EndpointSuffix=x"),
    ("SharedAccessKey=", base64.b64encode(RNG.bytes(32)).decode(), ""),
    ("https://a.blob.core.windows.net/c?sv=2022&sig=", f"{draw(43)}%3D", "&se=1"),
    ("AZURE_OPENAI_API_KEY=", "0a1b2c3d4e5f60718293a4b5c6d7e8f9", ""),
    ("api-key: ", "0a1b2c3d4e5f60718293a4b5c6d7e8f9", "\n"),
    ("TWILIO_AUTH_TOKEN = '", "9f8e7d6c5b4a39281706f5e4d3c2b1a0", "'"),
    ("GROQ_API_KEY: ", "x9Kq2mV7tR4wZ8bN3cL6", " and"),
    ("client_secret => ", "x9Kq2mV7tR4wZ8bN3cL6", ";"),
    ("clientSecret := `", "x9Kq2mV7tR4wZ8bN3cL6pQ", "`"),
    ("of an organisation: ", f"api_org_{'aBcDeFgHiJkLmNoPq' * 2}", ""),
    ("VERCEL_TOKEN=", draw(24), "\n"),
    ("export ALGOLIA_ADMIN_KEY='", draw(32, HEX), "'"),
    ("AZURE_DEVOPS_EXT_PAT=", draw(52, LOWER + DIGITS), ""),
    ("SNYK_TOKEN: ", str(uuid.UUID(int=11**36)), ""),
    ('{"token": "', draw(40, HEX), '"}'),
    ("Authorization: SSWS ", f"00{draw(40)}", ""),
    ("postgres://", "bob:hunter2", "@db.host.com/x"),
    ("", f"-----BEGIN OPENSSH PRIVATE KEY-----\n{draw(70)}\n-----END OPENSSH PRIVATE KEY-----", ""),
]
FREE = [
    "gsk_hub, dapi and dapi_client, SKIP, ACCOUNTS, AKIA, hf_hub, sk-learn-is-a-long-name-of-a-package",
    "The bearer of this letter 12345 is a friend; bearer bonds worth 100000000000000000 dollars",
    "Authorization: Bearer <token>, Authorization: Bearer YOUR_ACCESS_TOKEN_GOES_HERE",
    "api_key = get_the_api_key_of_the_user(session2, 3)",
    "api_key = os.environ['GROQ_API_KEY']; token = response.json()['access_token']",
    "const apiKey = process.env.REACT_APP_WEATHER_API_KEY_2;",
    "secret_key = your_secret_key_goes_here_123",
    "password: must_have_at_least_8_characters_and_1_digit",
    "access_token: string; refresh_token: optional_string_of_32_characters",
    "The secret: keep your token: a coin. The key = the door.",
    f"integrity sha512-{base64.b64encode(bytes(range(64))).decode()}",
    "sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709 and md5 d41d8cd98f00b204e9800998ecf8427e",
    "aws s3 key: da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "commit 9f8e7d6c5b4a39281706f5e4d3c2b1a0ffeeddcc of the key repository",
    "id 123e4567-e89b-12d3-a456-426614174000, order SK12345678, room AC0123",
    "https://example.org/path/secret_santa_2021_gift_ideas_for_everyone",
    "eyJust a word, SG.1.2, key-0123, figd_x, xox-love-and-kisses-2020",
    "postgres://user:password@localhost/db, https://user:pass@host.com, ftp://bob:<password>@host.com",
    "mysql://root:db_password@db/x, amqp://me:${RABBIT}@mq:5672, redis://u:****@r:6379",
    "PRIMARY_KEY = the_id_of_the_row_in_table_2; SORT_KEY: created_at_then_id_descending",
    "token = previous_token_of_the_sentence_1; MAX_TOKEN = 12345678901234567890",
    "API-FIRST-DESIGN, sat.exam.scores, sl.no, pk_12, pat.smith, A3-paper, fm2_radio, EAAA",
    "==========", "a == b && c == d", "x = [M]atrix.of.numbers",
]  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize(
    ("before", "after"), [("My key is ", "."), ('k="', '"'), ("", ""), ("(", ")")]
)
def test_a_key_is_found_whole(name: str, before: str, after: str) -> None:
    text = f"{before}{KEYS[name]}{after}"
    assert pieces(text) == [KEYS[name]]
    assert hinted(text)


@pytest.mark.parametrize(("before", "piece", "after"), NAMED)
def test_a_secret_with_a_name_or_scheme_is_found_whole(before: str, piece: str, after: str) -> None:
    assert pieces(f"{before}{piece}{after}") == [piece]
    assert hinted(f"{before}{piece}{after}")
    if before and "://" not in before:
        assert pieces(f"It was {piece} once.") in ([], [piece])


@pytest.mark.parametrize("text", FREE)
def test_what_only_looks_like_a_key_is_left(text: str) -> None:
    assert pieces(text) == []


def test_a_value_that_is_a_key_is_told_from_words() -> None:
    assert all(is_key(key) for key in KEYS.values())
    assert not any(is_key(text) for text in [*FREE, "", "gsk_", "HuggingFaceTB/SmolLM2-135M"])


def test_every_mark_stands_in_its_keys() -> None:
    keys = pl.Series(list(KEYS.values()))
    for mark in [*MARKED, *INNER]:
        assert not pl.Series(["plain words of a text, 12 of them"]).str.contains(mark)[0]
    assert keys.str.contains("|".join([*MARKED, *INNER])).all()


HOSTILE = ["a" * 20_000, "0aB" * 7_000, "aws key " * 3_000, "api_key=" * 3_000, "bearer " * 3_000,
           "M" + "a1" * 9_000, "token: " + "a1" * 9_000, "a.b:" * 5_000, "Q~1a" * 5_000]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.timeout(10)
def test_hostile_texts_take_no_time(text: str) -> None:
    pieces(text)


def pieces(text: str) -> list[str]:
    return [text[span.start : span.end] for span in find_personal(text, SECRETS)]


def hinted(text: str) -> bool:
    return any(pl.Series([text]).str.contains(form.hint)[0] for form in KEY_FORMS)
