"""Which keys, headers and variables hold secrets, by their names. The one place that decides."""

from __future__ import annotations

import re
from functools import lru_cache

# What the name of a secret ends with, whatever stands before it: "slackToken", "X-Goog-Api-Key".
_ENDINGS = "|".join(
    (
        *("accesskey", "apikey", "authkey", "encryptionkey", "functionskey", "masterkey"),
        *("privatekey", "secretkey", "sessionkey", "sharedkey", "signingkey", "sshkey"),
        "subscriptionkey",
        *("auth", "authentication", "authorization", "bearer", "cookie", "credential", "creds"),
        *("githubpat", "gitlabpat", "jwt", "passphrase", "passwd", "password", "secret", "token"),
    )
)
# What may follow: the header that carries it, a plural, a version, where it is used. Each step
# takes what no other does, so that a long name is decided in one pass.
_CARRIERS = "(?:headers?|s|v?[0-9]|base|pem|prod(?:uction)?|staging)*"
# Tokens that say where a list or a text goes on, and counts of what models read and write.
_ELSEWHERE = (
    "(?:page|next|previous|prev|cursor|continuation|sync|delta|pagination|resume|scroll|skip|start"
    "|stop|bos|eos)tokens?[0-9]*$"
)
_COUNTED = "tokens[0-9]*$"
_HELD = "(?:access|api|auth|bearer|csrf|id|refresh|secret|session)tokens[0-9]*$"
_WORKING_DIRECTORY = "(?:old)?pwd$"
_JOINTS = r"\0-/:-@\[-`{-\x7f"  # between words

# A name is one of a secret if its letters and digits, in lower case, match the first, or it
# matches the second: DB_PASS and dbPass, not bypass. They mean the same in JavaScript, and the
# page of the canvas is sent them.
PATTERNS = (
    f"^(?!.*{_ELSEWHERE})(?:(?=.*{_HELD})|(?!.*{_COUNTED}))(?!{_WORKING_DIRECTORY})"
    f".*(?:(?:{_ENDINGS}){_CARRIERS}|pwd)$",
    f"[^{_JOINTS}][{_JOINTS}]+[Pp][Aa][Ss][Ss]$|[a-z0-9]Pass$",
)
_PLAIN, _AS_WRITTEN = map(re.compile, PATTERNS)


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Return whether a key, header or variable of this name holds a secret.

    However it is spelled (``X-Api-Key``, ``apiKey``, ``API_KEY``) and whatever stands before
    it (``slackToken``). Cursors (``nextPageToken``) and counts (``maxTokens``) hold none.
    """
    plain = "".join(filter(str.isalnum, name.lower()))
    return _PLAIN.match(plain) is not None or _AS_WRITTEN.search(name) is not None
