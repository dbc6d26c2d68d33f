"""The names under which secrets stand, and how values are written. Pure."""

from __future__ import annotations

GONE = b"[scrubbed]"

JOURNALED = rb"(?:[A-Z][a-z]{2} [ \d]\d [0-9:.]{8,15}|\S+) \S+ [^\s:]{1,128}(?:\[\d+\])?: "
"""What journalctl and syslog put before each line; the indentation that matters comes after it."""
PRIVATE = rb"-----BEGIN [A-Z0-9 ]{0,64}PRIVATE KEY[A-Z ]{0,64}-----"
PRIVATE_END = rb"-----END [A-Z0-9 ]{0,64}PRIVATE KEY[A-Z ]{0,64}-----"
CORE = (  # what stands before it in the name does not matter, and looking for it would be slow on hostile lines
    rb"(?:token|passw(?:or)?[dt]|passphrase|passcode|secret|credential|authorization|assertion|cookie|x-auth"
    rb"|private[_.-]?key|(?:api|access|encryption|certificate)[ _.-]?key|client[_.-]?key[_.-]?data|enrol[_.-]?code"
    rb"|(?:account|shared|signing|master|unlock|license|preshared)[_.-]?key|psk|sess(?:ion)?[_.-]?id|connect\.sid"
    rb"|pin[_.-]?value|pwd(?![\\\"']{0,4}\s{0,4}[=:]\s{0,4}[\\\"']{0,4}/)|(?<![A-Za-z])pass(?![A-Za-z-]))"
)
"""`PWD=/root` is where somebody was."""
NAME = CORE + rb"[A-Za-z0-9_.-]{0,64}"
FILES = (
    rb"(?<!file)(?<!path)(?<!dir)(?<!files)(?<!name)(?<!names)(?<!ttl)(?<!mode)(?<!webhook)"
    rb"(?<!v1\.secret)(?<!seconds)(?<!count)(?<!type)"
)
"""Names of places, of times and of ways are no secrets: `token_file: /etc/...`, `--authorization-mode=Node`."""
PLAIN = rb"(?!(?:true|false|null|nil|none|<nil>|\"\"|'')\s{0,4}(?:[,;}\]]|--|$))"
"""Values that are none."""
TELLING = (
    b"token", b"pass", b"pwd", b"secret", b"credential", b"authorization",
    b"assertion", b"cookie", b"key", b"enrol", b"psk", b"x-auth", b"sess", b"connect.sid", b"pin",
)  # fmt: skip
"""Of each telling name something, in lower case: a quick look before the pattern."""
VALUE = (  # in quotes, in escaped quotes, or bare
    rb"b?(?:\\+\"(?:[^\\\"]|\\+[^\\\"])*\\+\"|\"(?:[^\"\\]|\\.)*(?:\"|$)|'(?:[^'\\]|\\.)*(?:'|$)|[^\s\"',}{\[\]]+)"
)
