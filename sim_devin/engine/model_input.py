"""Fields that a language model reads: no value of an environment variable gets into them.

``{{NAME}}`` stays as it stands in the document. In a value that a reference brings, what its
origins (see `origins`) put there is set back to ``{{NAME}}``. What a person typed, into the field
or as an input of the run, passes unchanged.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from sim_devin.engine.javascript_text import EVERY
from sim_devin.engine.origins import NOTHING, OWN, Origins, Provenance, merged, texts
from sim_devin.engine.references import EnvName, Reference, value_text
from sim_devin.redaction import MASK, SHORTEST, spellings

WORD = 2  # characters from which a value is recognized as a word of a longer text

REASON = "a model reads this field, so it receives {} unchanged, never the value"
WAY_OUT = (
    "Use an input of the run or a workflow variable with its own value; give secrets to Devin "
    "with sessionSecrets or as secrets of the organization."
)


def brace(name: str) -> str:
    """Return how a variable is written in a document."""
    return f"{{{{{name}}}}}"


def kept_back(found: Iterable[str]) -> str:
    """Return in words what a field does not get, and the way out; `found` as `FieldHide` has it."""
    return f"{REASON.format(', '.join(sorted(found)))}. {WAY_OUT}"


class ModelInput:
    """What models may read in one run.

    Args:
        provenance: the origins of the run's values.
        env: what ``{{NAME}}`` stands for.
        own: the app's own credentials.
        typed: returns what a person gave the run as its input.
    """

    def __init__(
        self,
        provenance: Provenance,
        env: Mapping[str, str],
        own: Callable[[], list[str]],
        typed: Callable[[], Any],
    ) -> None:
        self.provenance = provenance
        self.env = env
        self._own = own
        self._typed = typed
        self._typed_texts: frozenset[str] | None = None
        self._patterns: dict[frozenset[tuple[str, bool]], Pattern] = {}

    def field(self, block_id: str) -> FieldHide:
        """Return what keeps variables out of a field of a block."""
        return FieldHide(self, block_id)

    def without(self, origins: Origins, value: Any) -> tuple[Any, set[str]]:
        """Return JSON data without the values of variables, and the names of those found."""
        if not origins:
            return value, set()
        if self._typed_texts is None:
            given = () if self.provenance.has_given() else texts(self._typed())
            self._typed_texts = frozenset(given)
        found: set[str] = set()
        return self.pattern(origins).hidden(value, self._typed_texts, found), found

    def pattern(self, origins: Origins) -> Pattern:
        """Return what finds the values of variables."""
        key = frozenset(origins.items())
        if key not in self._patterns:
            self._patterns[key] = self._pattern(origins)
        return self._patterns[key]

    def _pattern(self, origins: Origins) -> Pattern:
        named = {name: direct for name, direct in origins.items() if name not in (EVERY, OWN)}
        if EVERY in origins:
            named = {**dict.fromkeys(self.env, False), **named}
        pattern = Pattern()
        for name in sorted(named):
            if self.env.get(name):
                pattern.add(self.env[name], brace(name), direct=named[name])
        if OWN in origins:
            for secret in self._own():
                pattern.add(secret, MASK, direct=False)
        return pattern


class FieldHide:
    """Keeps variables out of one field (`templates.Hide`); `found` names those it met."""

    def __init__(self, model_input: ModelInput, block_id: str) -> None:
        self._input = model_input
        self._block_id = block_id
        self.found: set[str] = set()

    def name(self, name: EnvName) -> str:
        """Return the braces."""
        if name.name in self._input.env:
            self.found.add(name.text)
        return name.text

    def value(self, reference: Reference, value: Any) -> Any:
        """Return a referenced value without the values of variables."""
        hidden, found = self._input.without(self._origins(reference), value)
        self.found |= found
        return hidden

    def joined(self, pieces: Sequence[tuple[str, Reference | None]]) -> str:
        """Return the pieces of a text as one, without values that only the whole makes."""
        held = [self._origins(reference) for _, reference in pieces]
        known = merged(*held)
        if not known:
            return "".join(text for text, _ in pieces)
        marked = [(text, bool(own)) for (text, _), own in zip(pieces, held, strict=True)]
        return self._input.pattern(known).across(marked, self.found)

    def _origins(self, reference: Reference | None) -> Origins:
        if reference is None:
            return NOTHING
        return self._input.provenance.of_reference(self._block_id, reference)


class Pattern:
    """Finds the values of some variables in JSON data."""

    def __init__(self) -> None:
        self._anywhere: dict[str, str] = {}  # in any case of letters
        self._words: dict[str, str] = {}
        self._whole: dict[str, str] = {}
        self._shown_by_group: list[str] = []
        self._compiled: re.Pattern[str] | None = None

    def add(self, value: str, shown: str, *, direct: bool) -> None:
        """Look for a value: for a short one only if it is held directly."""
        if direct:
            self._whole.setdefault(value, shown)
        if len(value) >= SHORTEST:
            for spelling in _spellings(value):
                self._anywhere.setdefault(spelling, shown)
        elif direct and len(value) >= WORD:
            self._words.setdefault(value, shown)

    def hidden(self, value: Any, typed: frozenset[str], found: set[str]) -> Any:
        """Return a copy of JSON data without the values; `typed` texts pass as a whole."""
        if isinstance(value, str):
            return value if value in typed else self._text(value, found)
        if isinstance(value, Mapping):
            return {
                self.hidden(key, typed, found): self.hidden(item, typed, found)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.hidden(item, typed, found) for item in value]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            text = value_text(value)
            hidden = self._text(text, found) if len(text) >= WORD else text
            return value if hidden == text else hidden
        return value

    def across(self, pieces: Sequence[tuple[str, bool]], found: set[str]) -> str:
        """Return pieces as one text without the long values that several of them make together.

        Of those pieces at least one has to be marked as brought by a reference.
        """
        pattern = self._pattern()
        ends = list(accumulate(len(text) for text, _ in pieces))

        def shown(hit: re.Match[str]) -> str:
            first, last = bisect_right(ends, hit.start()), bisect_left(ends, hit.end())
            brought = any(marked for _, marked in pieces[first : last + 1])
            is_word = (hit.lastindex or 1) > len(self._anywhere)
            return hit[0] if is_word or first == last or not brought else self._shown(hit, found)

        text = "".join(text for text, _ in pieces)
        return text if pattern is None else pattern.sub(shown, text)

    def _text(self, text: str, found: set[str]) -> str:
        if text in self._whole:
            found.add(self._whole[text])
            return self._whole[text]
        pattern = self._pattern()
        return text if pattern is None else pattern.sub(lambda hit: self._shown(hit, found), text)

    def _shown(self, hit: re.Match[str], found: set[str]) -> str:
        shown = self._shown_by_group[(hit.lastindex or 1) - 1]
        found.add(shown)
        return shown

    def _pattern(self) -> re.Pattern[str] | None:
        if self._compiled is None and (self._anywhere or self._words):
            anywhere = sorted(self._anywhere, key=len, reverse=True)
            words = sorted(self._words, key=len, reverse=True)
            self._shown_by_group = [
                *(self._anywhere[spelling] for spelling in anywhere),
                *(self._words[word] for word in words),
            ]
            self._compiled = re.compile(
                "|".join(
                    [
                        *(f"((?i:{re.escape(spelling)}))" for spelling in anywhere),
                        *(rf"(?<!\w)({re.escape(word)})(?!\w)" for word in words),
                    ]
                )
            )
        return self._compiled


def _spellings(value: str) -> set[str]:
    """Return how a value may stand in a text: as it is, escaped, in base64, line by line."""
    found = set(spellings(value))
    lines = [line.strip() for line in value.splitlines()]
    if len(lines) > 1:
        found |= {line for line in lines if len(line) >= SHORTEST}
    raw = value.encode("utf-8", "surrogatepass")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        found |= {encode(raw).decode(), encode(raw).decode().rstrip("=")}
    return found | {raw.hex()}
