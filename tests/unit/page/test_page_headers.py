"""What the page lets browsers do, and which writes it believes."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from cloud_endpoint.page.headers import CSP, NO_STORE, SECURITY, foreign

HOST = "cloud.example:8443"
ORIGIN = f"https://{HOST}"


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Origin": ORIGIN}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, False),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Origin": ORIGIN}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "null"}, True),
        ({"Sec-Fetch-Site": "same-site", "Origin": "https://other.cloud.example"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"}, True),
        ({"Origin": "https://evil.example"}, True),
        ({"Origin": f"http://{HOST}"}, True),
        ({"Origin": f"https://{HOST}.evil.example"}, True),
        ({"Origin": "null"}, True),
        ({}, True),
    ],
)
def test_a_write_comes_from_the_page_itself(headers: dict[str, str], refused: bool) -> None:
    assert bool(foreign(headers, "https", HOST)) is refused


def test_the_policy() -> None:
    rules = dict(rule.strip().split(" ", 1) for rule in CSP.split(";"))
    assert rules["default-src"] == rules["form-action"] == "'self'"
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["object-src"] == "'none'"
    assert "unsafe" not in CSP
    assert SECURITY["Referrer-Policy"] == "no-referrer"
    assert NO_STORE["Cache-Control"] == "no-store"


def assets() -> dict[str, str]:
    folder = files("cloud_endpoint.page").joinpath("assets")
    return {entry.name: entry.read_text() for entry in folder.iterdir()}


def test_assets_hold_no_inline_code_and_fetch_nothing_from_elsewhere() -> None:
    for name, text in assets().items():
        plain = text.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|url\(|@import", plain), name
        if name.endswith(".html"):
            assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*src=)", text), name


def test_scripts_never_make_markup_or_code_out_of_text() -> None:
    scripts = {name: text for name, text in assets().items() if name.endswith(".js")}
    assert len(scripts) > 5
    for name, text in scripts.items():
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|DOMParser|\.style\b",
            text,
        ), name
