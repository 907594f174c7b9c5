"""Decide by name which keys, headers and variables hold secrets. The only place for it."""

from __future__ import annotations

import re
from functools import lru_cache

# Endings of secret names, whatever precedes them: "slackToken", "X-Goog-Api-Key".
_ENDINGS = "|".join(
    (
        *("accesskey", "apikey", "authkey", "encryptionkey", "functionskey", "masterkey"),
        *("privatekey", "secretkey", "sessionkey", "sharedkey", "signingkey", "sshkey"),
        "subscriptionkey",
        *("auth", "authentication", "authorization", "bearer", "cookie", "credential", "creds"),
        *("githubpat", "gitlabpat", "jwt", "passphrase", "passwd", "password", "secret", "token"),
    )
)
# What may follow: the header that carries it, a plural, a version, where it is used. The steps are
# disjoint, so that a long name is decided in one pass.
_CARRIERS = "(?:headers?|s|v?[0-9]|base|pem|prod(?:uction)?|staging)*"
# Tokens that mark a position in a list or text, and counts of what models read and write.
_ELSEWHERE = (
    "(?:page|next|previous|prev|cursor|continuation|sync|delta|pagination|resume|scroll|skip|start"
    "|stop|bos|eos)tokens?[0-9]*$"
)
_COUNTED = "tokens[0-9]*$"
_HELD = "(?:access|api|auth|bearer|csrf|id|refresh|secret|session)tokens[0-9]*$"
_WORKING_DIRECTORY = "(?:old)?pwd$"
_JOINTS = r"\0-/:-@\[-`{-\x7f"  # between words

# A name is secret if its lower-case letters and digits match the first pattern, or it matches the
# second: DB_PASS and dbPass, not bypass. Both mean the same in JavaScript; the canvas page receives
# them.
PATTERNS = (
    f"^(?!.*{_ELSEWHERE})(?:(?=.*{_HELD})|(?!.*{_COUNTED}))(?!{_WORKING_DIRECTORY})"
    f".*(?:(?:{_ENDINGS}){_CARRIERS}|pwd)$",
    f"[^{_JOINTS}][{_JOINTS}]+[Pp][Aa][Ss][Ss]$|[a-z0-9]Pass$",
)
_PLAIN, _AS_WRITTEN = map(re.compile, PATTERNS)


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Return whether a key, header or variable of this name holds a secret.

    The spelling (``X-Api-Key``, ``apiKey``, ``API_KEY``) and any prefix (``slackToken``) do not
    matter. Cursors (``nextPageToken``) and counts (``maxTokens``) are not secret.
    """
    plain = "".join(filter(str.isalnum, name.lower()))
    return _PLAIN.match(plain) is not None or _AS_WRITTEN.search(name) is not None
