"""What in one line of a log is a secret by its form: under a telling name, in a known frame. Pure.

A net for what nobody could list beforehand: values that this node is known to hold are taken out by `known`. A rule
rather takes too much: a lost word in a log is asked for again, a key that left is gone. Each pattern has bounded
repeats, or runs to the end of the line at once: a line of any bytes takes time in proportion to its length.
What people say in words, and command lines: words.py.
"""

from __future__ import annotations

import re

from edge_commander.diagnostics.names import FILES, GONE, JOURNALED, NAME, PLAIN, PRIVATE, PRIVATE_END, TELLING, VALUE

Rule = tuple[tuple[bytes, ...], re.Pattern[bytes], bytes]
"""Words of which a line must hold one, in lower case, for the pattern to be tried at all; pattern; what is put."""

KEPT = rb"\1" + GONE
"""The first group stays."""
_DATA = (b"data",)
_ENCODED = rb"(?:\\{1,8}u0022|&quot;|&#3[49];|%2[27])"
"""A quote in JSON's escapes, in HTML, in an address."""
_Q = rb"\\{0,8}[\"']?"
_IS = _Q + rb"\s{0,8}[:=]\s{0,8}"
_TO_BLANK = rb"(?:\"(?:[^\"\\]|\\.)*(?:\"|$)|'[^']*(?:'|$)|[^\s\"'&]+)"
NAMED: tuple[Rule, ...] = (
    ((b"private key",), re.compile(PRIVATE + rb".*?(?:" + PRIVATE_END + rb"|$)"), GONE),
    # A Secret's data where object and value stand on one line; everything after it goes.
    (_DATA, re.compile(rb"(?i)(\b(?:data|stringData|binaryData)\\*[\"']?\s*[:=]\s*\\*[\"']?"
                       rb"(?:map\[[^\]]{0,64}\][^{]{0,64})?\{).+$"), KEPT),
    ((b"authorization", b"cookie", b"x-csrf", b"private-token"),
     re.compile(rb"(?i)((?:proxy-)?authorization|(?:set-)?cookies?|x-csrf-token|private-token)"
                rb"(\]?\\*[\"']?\s*[:=,]\s*|\s+(?=bearer|basic|digest|negotiate|token|apikey)).+$"),
     rb"\1\2" + GONE),
    ((b"bearer", b"basic", b"negotiate", b"apikey"),
     re.compile(rb"(?i)\b(bearer|basic|negotiate|apikey)\s+[A-Za-z0-9._~+/=-]{6,}"), rb"\1 " + GONE),
    ((b"eyj",), re.compile(rb"eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){1,4}"), GONE),
    ((b"k10",), re.compile(rb"K10[0-9a-f]{16,}::\S+"), GONE),
    ((b"age-secret-key",), re.compile(rb"(?i)AGE-SECRET-KEY-1[A-Z0-9]+"), GONE),
    # What services put before their tokens.
    ((b"akia", b"asia", b"gh", b"glpat-", b"xox", b"aiza", b"hvs.", b"sk_", b"rk_", b"npm_", b"dckr_pat_"),
     re.compile(rb"(?<![A-Za-z0-9])(?:A[KS]IA[A-Z0-9]{12,}|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}"
                rb"|glpat-[\w-]{10,}|xox[a-z]-[\w-]{10,}|AIza[\w-]{20,}|hvs\.[\w-]{12,}|[sr]k_(?:live|test)_\w{10,}|npm_\w{20,}"
                rb"|dckr_pat_[\w-]{10,})"), GONE),
    # crypt(5), as in shadow and htpasswd.
    ((b"$",), re.compile(rb"\$(?:1|2[abxy]?|5|6|7|y|gy|apr1|argon2[a-z]{1,2})\$[./A-Za-z0-9$=,+]{8,}"), GONE),
    # A password in an address may hold anything, also what an address may not.
    ((b"@",), re.compile(rb"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]{0,20}://)[^\s\"'<>]{0,2048}@"),
     rb"\1" + GONE + b"@"),
    # The same without a scheme; `name:1.2@sha256:...` is an image.
    ((b"@",), re.compile(rb"(?<![A-Za-z0-9_.-])([A-Za-z0-9_.-]{1,64}:)[^\s\"'<>@/:]{1,128}@(?!sha\d{3}:)"
                         rb"(?=[A-Za-z0-9\[])"),
     rb"\1" + GONE + b"@"),
    # A signature that opens what is addressed.
    ((b"sig",), re.compile(rb"(?i)\b((?:x-amz-)?sig(?:nature)?=)[^\s\"'&]{6,}"), KEPT),
    # A name and its value as a pair, in either order.
    ((b"value", b"val="),
     re.compile(rb"(?i)(" + NAME + FILES + _Q + rb"[\s,]{0,8}" + _Q + rb"\bval(?:ue)?" + _IS + rb")" + VALUE), KEPT),
    ((b"value",),
     re.compile(rb"(?i)(\bvalue" + _IS + rb")(?:\\{0,8}\"[^\"]{0,512}\"|'[^']{0,512}'|[^\s\"',}]{1,512})"
                rb"([\s,]{0,8}" + _Q + rb"(?:name|key)" + _IS + _Q + rb"[A-Za-z0-9_.-]{0,64}?" + NAME + rb")"),
     rb"\1" + GONE + rb"\2"),
    # "name": "value", also escaped; 'name': b'value'; 'name' => 'value'; "--name","value".
    (TELLING, re.compile(rb"(?i)(" + NAME + FILES + rb"\\*[\"']\s*(?:[:,]|=>?)\s*)" + PLAIN
                         + rb"(?!\\*[\"']value\b)" + VALUE), KEPT),
    ((b"auth",), re.compile(rb"(?i)([\"'](?:identity)?_?auth\\*[\"']\s*:\s*)" + PLAIN + VALUE), KEPT),
    ((b"_auth",), re.compile(rb"(?i)(\b_auth\s{0,8}=\s{0,8})\S+"), KEPT),
    # The same in other quotes than a line has by itself.
    ((b"u0022", b"&quot;", b"&#3", b"%2", b"%3"),
     re.compile(rb"(?i)(" + NAME + FILES + _ENCODED + rb"{0,2}\s{0,4}(?:[:=]|%3[ad])\s{0,4}" + _ENCODED + rb"{0,2})"
                rb"(?:(?!" + _ENCODED + rb"|&|%26)[^\s\"'\\]){1,2048}"), KEPT),
    ((b"<",),
     re.compile(rb"(?i)(<[A-Za-z0-9_.:-]{0,64}?" + NAME + FILES + rb"(?:\s[^<>]{0,256})?>)[^<]+"), KEPT),
    # A JWK's private parts.
    ((b'":', b'" :', b'\\":'), re.compile(rb"(\"(?:d|p|q|dp|dq|qi|k)\\*\"\s*:\s*)\\*\"[A-Za-z0-9_-]{8,}\\*\"?"),
     KEPT),
    # --token VALUE, --password=VALUE, -token VALUE.
    (TELLING, re.compile(rb"(?i)((?<![A-Za-z0-9_-])--?[A-Za-z0-9_.-]{0,64}?" + NAME + FILES + rb")([=\s]\s*)" + PLAIN
                         + rb"(?:\"[^\"]*(?:\"|$)|'[^']*(?:'|$)|[^\s\"']+)"), rb"\1\2" + GONE),
    # NAME=value as a whole line: to its end, a password may hold spaces.
    (TELLING, re.compile(rb"(?i)^((?:" + JOURNALED + rb")?\s*(?:export\s+|Environment=\"?)?[A-Za-z0-9_.-]{0,64}?"
                         + NAME + FILES + rb"\s*=)\s*" + PLAIN + rb"\S.*$"), KEPT),
    (TELLING, re.compile(rb"(?i)(" + NAME + FILES + rb"\s{0,8}\]?(?:=>|:=|->|={1,2})\s{0,8})" + PLAIN + _TO_BLANK),
     KEPT),
    ((b"code=",), re.compile(rb"(?i)(\bcode=)" + _TO_BLANK), KEPT),
    # name: value, as YAML and people write it: to the end.
    (TELLING, re.compile(rb"(?i)(" + NAME + FILES + rb"\s*:\s*)" + PLAIN + rb"(?![\s\[])[^\s].*$"), KEPT),
)  # fmt: skip
