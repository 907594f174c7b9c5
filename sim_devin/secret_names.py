"""Which keys, headers and variables hold secrets, by their names. The one place that decides."""

from __future__ import annotations

import re
from functools import lru_cache

# What the name of a secret ends with, whatever stands before it: "slackToken", "X-Goog-Api-Key".
_SECRET_ENDINGS = (
    *("accesskey", "apikey", "authkey", "encryptionkey", "functionskey", "masterkey"),
    *("privatekey", "secretkey", "sessionkey", "sharedkey", "signingkey", "sshkey"),
    "subscriptionkey",
    *("auth", "authentication", "authorization", "bearer", "cookie", "credential", "creds"),
    *("githubpat", "gitlabpat", "jwt", "passphrase", "passwd", "password", "secret", "token"),
)
# What may follow: the header that carries it, a plural, a version, where it is used.
_CARRIERS = re.compile(r"(?:headers?|s|v?\d+|base|pem|prod(?:uction)?|staging)+$")
_PASS_WORD = re.compile(r"[^\W_][\W_]+(?i:pass)$|[a-z0-9]Pass$")  # DB_PASS, dbPass; not bypass
# Tokens that say where a list or a text goes on, and counts of what models read and write.
_OTHER_TOKEN = re.compile(
    r"(?:page|next|previous|prev|cursor|continuation|sync|delta|pagination|resume|scroll|skip|start"
    r"|stop|bos|eos)tokens?\d*$"
)
_COUNTED = re.compile(r"tokens\d*$")
_HELD = re.compile(r"(?:access|api|auth|bearer|csrf|id|refresh|secret|session)tokens\d*$")
_WORKING_DIRECTORY = frozenset({"pwd", "oldpwd"})


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Return whether a key, header or variable of this name holds a secret.

    However it is spelled (``X-Api-Key``, ``apiKey``, ``API_KEY``) and whatever stands before
    it (``slackToken``). Cursors (``nextPageToken``) and counts (``maxTokens``) hold none.
    """
    plain = "".join(filter(str.isalnum, name.lower()))
    if _OTHER_TOKEN.search(plain) or (_COUNTED.search(plain) and not _HELD.search(plain)):
        return False
    if plain.endswith("pwd"):
        return plain not in _WORKING_DIRECTORY
    if plain.endswith("pass"):
        return _PASS_WORD.search(name) is not None
    return plain.endswith(_SECRET_ENDINGS) or _CARRIERS.sub("", plain).endswith(_SECRET_ENDINGS)
