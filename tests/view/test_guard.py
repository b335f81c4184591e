"""Requests that no page of the viewer makes are refused, and every answer says what it may load."""

from __future__ import annotations

import re

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from curate.view.guard import CSP, HEADERS, MOST_BODY_BYTES, Guard

PORT, TOKEN = 8700, "a-token"
JSON = {"content-type": "application/json"}
SAME = {"origin": f"http://127.0.0.1:{PORT}", "sec-fetch-site": "same-origin"}


async def echo(request: Request) -> Response:
    return PlainTextResponse(f"{request.method} {(await request.body()).decode()}")


def client(*, signed: bool = True, base: str = f"http://127.0.0.1:{PORT}") -> TestClient:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (await echo(Request(scope, receive)))(scope, receive, send)

    guarded = TestClient(Guard(app, TOKEN, PORT), base_url=base, follow_redirects=False)
    if signed:
        guarded.cookies.set(f"curate-view-{PORT}", TOKEN)
    return guarded


def test_the_cookie_lets_pages_pass_and_every_answer_has_the_headers() -> None:
    answer = client().get("/rows")
    assert (answer.status_code, answer.text) == (200, "GET ")
    refused = [
        client(signed=False).get("/"),
        client().delete("/"),
        client(base="http://e.org").get("/"),
    ]
    for one in (answer, *refused):
        assert {name: one.headers[name] for name in HEADERS} == HEADERS
    assert answer.headers["content-security-policy"] == CSP
    assert "unsafe" not in CSP


def test_the_token_of_the_address_sets_a_strict_cookie_and_leads_to_the_clean_address() -> None:
    browser = client(signed=False)
    page = browser.get("/rows", params={"token": TOKEN, "text": 'a"&b'})
    cookie = page.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert 'content="0;url=/rows?text=a%22%26b"' in page.text
    assert TOKEN not in page.text
    assert browser.get("/rows").status_code == 200


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example"])
def test_signing_in_never_leads_to_another_server(path: str) -> None:
    page = client(signed=False).get(f"http://127.0.0.1:{PORT}{path}?token={TOKEN}")
    assert re.search(r"url=/(%5C)?evil.example", page.text)


@pytest.mark.parametrize("query", ["", "?token=", "?token=another", "?token=%F0%28%8C%28"])
def test_without_the_token_nothing_is_seen(query: str) -> None:
    answer = client(signed=False).get(f"/rows{query}")
    assert answer.status_code == 403
    assert "curate view" in answer.text


def test_a_wrong_cookie_is_refused_and_one_of_another_port_is_none() -> None:
    for name, value in ((f"curate-view-{PORT}", "b"), ("curate-view-1", TOKEN)):
        browser = client(signed=False)
        browser.cookies.set(name, value)
        assert browser.get("/rows").status_code == 403


@pytest.mark.parametrize(
    "host",
    ["attacker.example", f"attacker.example:{PORT}", "127.0.0.1", f"127.0.0.1:{PORT + 1}", ""],
)
def test_a_name_that_was_pointed_to_this_machine_is_refused(host: str) -> None:
    assert client().get("/rows", headers={"host": host}).status_code == 403


def test_localhost_is_a_name_of_this_machine() -> None:
    assert client().get("/rows", headers={"host": f"localhost:{PORT}"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://attacker.example"},
        {"origin": "null"},
        {"origin": f"http://127.0.0.1:{PORT + 1}"},
        {"origin": f"https://127.0.0.1:{PORT}"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
    ],
)
def test_requests_of_other_sites_are_refused(headers: dict[str, str]) -> None:
    assert client().get("/rows", headers=headers).status_code == 403
    assert client().post("/marks", content="{}", headers=JSON | headers).status_code == 403


def test_a_link_on_another_site_may_be_followed_to_a_page_but_change_nothing() -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client().get("/rows", headers=link).status_code == 200
    assert client().post("/marks", content="{}", headers=JSON | link).status_code == 403


def test_a_change_is_json_from_a_page_of_ours() -> None:
    answer = client().post("/marks", content='{"a": 1}', headers=JSON | SAME)
    assert (answer.status_code, answer.text) == (200, 'POST {"a": 1}')
    assert client().post("/marks", content="{}", headers=JSON).status_code == 403
    unsigned = client(signed=False).post("/marks", content="{}", headers=JSON | SAME)
    assert unsigned.status_code == 403
    in_query = client(signed=False).post(f"/marks?token={TOKEN}", content="{}", headers=JSON | SAME)
    assert in_query.status_code == 403


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("text/plain", b"{}", 415),
        ("application/x-www-form-urlencoded", b"a=1", 415),
        ("multipart/form-data; boundary=a", b"{}", 415),
        ("", b"{}", 415),
        ("application/json", b" " * (MOST_BODY_BYTES + 1), 413),
        ("application/json; charset=utf-8", b" " * MOST_BODY_BYTES, 200),
    ],
)
def test_other_bodies_are_refused(kind: str, body: bytes, status: int) -> None:
    answer = client().post("/marks", content=body, headers={"content-type": kind} | SAME)
    assert answer.status_code == status


def test_a_body_without_a_length_is_refused() -> None:
    answer = client().post("/marks", content=iter([b"{}"]), headers=JSON | SAME)
    assert answer.status_code == 411


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(method: str) -> None:
    assert client().request(method, "/rows", headers=SAME).status_code == 405
