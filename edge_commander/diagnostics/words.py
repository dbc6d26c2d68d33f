"""Secrets as people and command lines have them: "the password is ...", `mysql -p...`, `curl -u name:...`. Pure.

The words alone would take half of what a kubelet says (`secret "x" not found`, `token has expired`): so what follows
must look like a value. A password may look like any word; there the words that logs do say after it are left.
"""

from __future__ import annotations

import re

from edge_commander.diagnostics.names import JOURNALED
from edge_commander.diagnostics.rules import KEPT, Rule

_PASSWORD = rb"(?:pass(?:word|wd|wort|phrase|code)|pwd|kennwort)"
_KEY = rb"(?:api|access|private|certificate|encryption|signing|shared|join)[ _-]key"
_CODE = rb"(?:pin|(?:unlock|enrol(?:ment)?|recovery|activation|one-time|pairing)[ -](?:code|password))"
_WORD = rb"\s{1,4}[A-Za-z0-9_.@'-]{1,40}"
_BETWEEN = rb"(?:" + _WORD + rb"){0,5}?"
_IS = (
    rb"\s{1,4}(?:(?:is|was|are|be)(?:\s(?:now|still|always|currently))?|(?:set|changed|reset|updated)\s(?:back\s)?to)"
    rb"\s{0,4}:?\s{1,4}"
)
_SAID = (  # of passwords, and no value
    rb"(?!(?:not?|now|still|always|currently|required|invalid|wrong|empty|missing|incorrect|expired|too|set|unset|correct"
    rb"|valid|disabled|enabled|locked|needed|used|stored|kept|changed|reset|updated|the|an?|in|on|of|by|for|from|with|never"
    rb"|already|being|been|only|ok|accepted|rejected|refused|shorter|longer|unknown|denied|allowed|optional|deprecated"
    rb"|mandatory|configured|read|given|asked|sent|hashed|encrypted|provided|supplied|due|about|found|checked|requested"
    rb"|issued|revoked|rotated|renewed|ready|mounted|left|also|both|different|equal|unchanged|generated|created|removed"
    rb"|deleted|defined|specified|available|skipped|stopped|started|finished|loaded|entered|typed|authentication|based"
    rb"|prompt|policy|hash|file|database|manager|check|mismatch|aging|quality)\b)"
)
_ODD = rb"(?=[^\s\"'`,;]{0,200}[A-Za-z])(?=[^\s\"'`,;]{0,200}\d)[^\s\"'`,;]{6,}"
"""Letters and digits in one word, as no sentence has them."""
_QUOTED = rb"(?:\"[^\"]{1,512}(?:\"|$)|'[^']{1,512}(?:'|$)|`[^`]{1,512}(?:`|$))"
_ANYTHING = rb"(?:" + _QUOTED + rb"|[^\s\"'|;&]+)"
_NUMBERS = rb"(?![\"']?[\d.:/-]+(?:/(?:tcp|udp))?[\"']?(?:\s|,|\]|$))"
"""Ports and the like."""
_BEFORE = rb"(?<![A-Za-z0-9_.-])"
_QUOTE = rb"[\"'`]?"
_ARGUMENT = rb"(?:[\"']\s{0,4},\s{0,4}[\"']?|[\s=]{1,4})"
"""Between a flag and its value: on a command line, or in a list of arguments."""


def _rule(words: tuple[bytes, ...], kept: bytes, gone: bytes) -> Rule:
    """What is kept stands before what goes."""
    return words, re.compile(rb"(?i)(" + kept + rb")" + gone), KEPT


_PASS = (b"pass", b"pwd", b"kennwort")
SPOKEN: tuple[Rule, ...] = (
    _rule(_PASS, _BEFORE + _PASSWORD + rb"(?:'s)?" + _BETWEEN + _IS, _SAID + rb"\S.*$"),
    _rule(_PASS, _BEFORE + _PASSWORD + rb"\s{1,4}", _SAID + rb"(?:" + _QUOTED + rb"|" + _ODD + rb")"),
    _rule(_PASS, _BEFORE + _PASSWORD + rb"(?:" + _WORD + rb"){1,4}:\s{1,4}", _SAID + rb"\S.*$"),
    # netrc
    _rule((b"pass",), rb"^(?:" + JOURNALED + rb")?\s*password\s+|\blogin\s+\S{1,128}\s+password\s+", rb"\S+\s*$"),
    _rule((b"identified",), rb"\bidentified\s+(?:with\s+\S{1,64}\s+)?by\s+(?:password\s+)?", _ANYTHING),
    _rule(
        (b"token", b"secret", b"credential", b"key", b"authorization"),
        _BEFORE + rb"(?:token|secret|credential|" + _KEY + rb")" + _BETWEEN + _IS + _QUOTE,
        _ODD,
    ),
    _rule(  # a secret's name may look so: Kubernetes calls them by their names
        (b"token", b"key", b"authorization"),
        _BEFORE + rb"(?:token|authorization|" + _KEY + rb")\s{1,4}" + _QUOTE,
        _ODD,
    ),
    _rule(
        (b"pin", b"code", b"one-time"),
        _BEFORE + _CODE + _BETWEEN + _IS + _QUOTE,
        rb"(?=[^\s]{0,64}\d)[^\s\"'`,;]{4,}",
    ),
    _rule((b"community",), rb"\br[ow]community6?\s+", rb"\S+"),  # snmpd.conf
)

_TAKES_P = (
    rb"\b(?:sshpass|mysql[a-z]*|mariadb[a-z-]*|7z[ar]?|zip|unzip|u?n?rar|redis-cli|mosquitto_[a-z]+|ldap[a-z]+|ipmitool"
    rb"|mongo[a-z]*|influx|rpcclient|sqlcmd|xfreerdp|(?:docker|podman|nerdctl|buildah|skopeo|helm|oc|az|npm|cf)\s.{0,128}"
    rb"login)\b.{0,512}?[\s\"']"
)
"""Programs whose `-p`, `-P`, `-a` or `-w` is a password."""
_GLUED = rb"\b(?:sshpass|mysql[a-z]*|mariadb[a-z-]*|7z[ar]?|u?n?rar)\b.{0,512}?[\s\"']-p"
"""Those that take it without a blank."""
_FLAG = rb"(?<![A-Za-z0-9_-])"
_STDIN = rb"(?:--password-stdin|sudo\s+-[A-Za-z]{0,8}S|chpasswd|--stdin|cryptsetup)"
TYPED: tuple[Rule, ...] = (
    _rule((b"-p", b"-a", b"-w"), _TAKES_P + rb"(?-i:-[pPaw])" + _ARGUMENT, _NUMBERS + _ANYTHING),
    _rule((b"-p",), _GLUED, rb"(?:" + _QUOTED + rb"|(?![\s\"',])[^\s,\]]+)"),
    _rule((b"-p",), _FLAG + rb"(?-i:-p)" + _ARGUMENT, rb"(?![^\s]{0,200}[/=:])" + _ODD),
    _rule(
        (b"-u", b"user", b"creds"),
        _FLAG + rb"(?:-u|--user|--proxy-user|--(?:src-|dest-)?creds)" + _ARGUMENT + rb"?[\"']?[^\s\"':%]{0,64}[:%]",
        rb"(?!\d+(?:\s|$))[^\s\"']+",
    ),
    _rule((b"--from-literal",), rb"--from-literal[=\s]\s{0,4}[\"']?[^\s\"'=]{1,253}=", _ANYTHING),
    _rule((b"htpasswd",), rb"\bhtpasswd\s+-[A-Za-z]{0,8}b[A-Za-z]{0,8}\s", rb".*$"),
    _rule(
        (b"--password-stdin", b"sudo", b"chpasswd", b"--stdin", b"cryptsetup"),
        rb"\b(?:echo|printf)\s",
        rb"[^|]{1,512}(?=\|[^|]{0,128}?" + _STDIN + rb")",
    ),
)
