"""The view as a page: one document without a script, whose only style is named in its own policy. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape

from edge_commander.console.view import View
from edge_commander.shown import plain, stamp

REFRESH_SECONDS = 10
STYLE = (
    "body{font:1.1rem/1.4 system-ui,sans-serif;margin:1rem auto;max-width:42rem;padding:0 1rem}"
    "body{color:#111;background:#fff}"
    "h1{font-size:1.3rem;margin:0 0 .5rem}dl{margin:0}dt{color:#555;font-size:.9rem;margin-top:.6rem}"
    "dd{margin:0;overflow-wrap:anywhere}.do dd{font-weight:600}"
    ".wrong{border-left:.3rem solid #b00020;padding-left:.7rem}"
    "footer{color:#555;font-size:.9rem;margin-top:1.2rem}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#111}dt,footer{color:#aaa}}"
)
POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy: whatever got past the escaping could load, run and send nothing."""


def page(view: View) -> bytes:
    """UTF-8. Everything that others say is escaped, and shows no character that steers what is around it."""
    name = view.who or view.node or "node"
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">',
        f"<title>{_text(name)}: {_text(view.state)}</title><style>{STYLE}</style></head><body>",
        f"<h1>Galley: {_text(name)}</h1>",
        *_entries([("state", f"{view.state}{f', since {view.since} ({view.span})' if view.since else ''}")]),
        *_entries([("waits for", view.reason)]),
        *_entries([("do now", view.here)], "do"),
        *_problems(view.problems),
        *_entries([("node", view.node or "not known yet"), ("serial number", view.serial), ("address", view.address)]),
        *_entries(view.more),
        *_entries([("for the support desk", view.desk), ("version", view.version)]),
        f"<footer>As of {stamp(view.now_ms)}, looked at anew every {REFRESH_SECONDS} seconds. ",
        "Nothing can be changed here.</footer></body></html>\n",
    ]
    return "".join(parts).encode()


def _entries(entries: Iterable[tuple[str, str]], kind: str = "") -> list[str]:
    found = [f"<dt>{_text(name)}</dt><dd>{_text(text)}</dd>" for name, text in entries if text]
    return [f"<dl{f' class={kind}' if kind else ''}>", *found, "</dl>"] if found else []


def _problems(problems: Sequence[str]) -> list[str]:
    if not problems:
        return []
    return ['<dl class="wrong"><dt>wrong</dt>', *(f"<dd>{_text(one)}</dd>" for one in problems), "</dl>"]


def _text(text: str) -> str:
    return escape(plain(text))
