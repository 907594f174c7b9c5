"""All errors of this package, in one tree.

::

    SimDevinError                    1  base; catch this to catch everything
    ├── CallerError                  2  invalid input; nothing was sent
    │   ├── InvalidParams               all problems of one call, listed together
    │   ├── UnknownName                 no such tool, block, plugin or run; suggests the nearest
    │   ├── InvalidSpec                 a spec file is invalid
    │   ├── InvalidWorkflow             a workflow document cannot be run
    │   ├── NotAllowed                  denied by the policy
    │   │   ├── AddressRefused          a workflow's request leads to an address that is not public
    │   │   └── Declined                requires approval, which was not given
    │   └── PluginError                 a plugin failed to load (strict mode), or two claim one id
    ├── CredentialsError             3  no usable API key or organization id
    │   ├── MissingCredentials          the message names the variables to set
    │   ├── AuthenticationFailed        401 (also an ApiError)
    │   └── PermissionDenied            403 (also an ApiError)
    ├── TransportError               4  network error, or no usable response
    │   ├── NotSent                     the request certainly never reached the service
    │   │   ├── NothingSent             a message was not sent, since the session cannot be read
    │   │   └── LocalFault              this machine is out of descriptors, threads or memory
    │   ├── TimedOut                    time ran out
    │   └── AmbiguousResult             may have taken effect; the hint says how to check
    │       └── UncertainResult         not found within the grace window; a person has to decide
    ├── ApiError                     5  the service returned an error
    │   ├── BadRequest (400, 422)  NotFound (404)  Conflict (409)  RateLimited (429)
    │   ├── OutOfQuota                  402, or an error that mentions money or quota: billing
    │   └── ServerError (5xx)
    ├── UnreadableResponse           5  success with an unreadable body; says if it was accepted
    ├── WaitTimedOut                 1  a wait reached its deadline; wait again with the same ids
    ├── RunFailed                    1  a block of a workflow run failed
    ├── MissingDependency            2  an optional extra is not installed
    ├── StoreError                   1  the run store cannot be read or written
    │   └── StoreUnavailable            temporarily: busy, full, forbidden or unreachable
    └── Cancelled                  130  stopped by the caller

The number is the exit code of the command line. Errors can be pickled, and their text says what to
do next.

Every error has a `Meaning` (``error.means``), by which callers decide what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from sim_devin.meaning import (
    ACCESS,
    DECIDED,
    PASSING,
    UNCERTAIN,
    UNTAKEN,
    WRONG,
    Meaning,
    meaning_of_status,
)
from sim_devin.text import did_you_mean, nearest


class SimDevinError(Exception):
    """Base of all errors raised deliberately by this package. `hint` says what to do."""

    exit_code = 1
    _meaning: ClassVar[Meaning] = Meaning()

    @property
    def means(self) -> Meaning:
        """How the error classifies the call that raised it."""
        return self._meaning

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> tuple[Any, ...]:
        # The default rebuilds from positional arguments only, which keyword arguments break.
        return (_rebuild, (type(self), self.args, dict(self.__dict__)))

    def to_json(self) -> dict[str, Any]:
        """Return the error as plain JSON data, for ``--json`` output and logs."""
        extra = {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("message", "hint") and not name.startswith("_")
        }
        return {
            "type": type(self).__name__,
            "message": self.message,
            "hint": self.hint,
            "exitCode": self.exit_code,
            **extra,
        }


def _rebuild(
    cls: type[SimDevinError], args: tuple[Any, ...], state: Mapping[str, Any]
) -> SimDevinError:
    error = cls.__new__(cls)
    Exception.__init__(error, *args)
    error.__dict__.update(state)
    return error


class CallerError(SimDevinError):
    """Invalid input from the caller; nothing was sent."""

    exit_code = 2
    _meaning = WRONG


class InvalidParams(CallerError):
    """Invalid parameters of a call. `problems` lists all of them."""

    def __init__(self, subject: str, problems: Iterable[str], *, hint: str = "") -> None:
        self.subject = subject
        self.problems = list(problems)
        listed = "; ".join(self.problems)
        super().__init__(f"{subject}: {listed}.", hint=hint)


class UnknownName(CallerError):
    """No such tool, block, plugin or run. `nearest` holds similar names."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        known = list(known)
        self.kind = kind
        self.name = name
        self.nearest = nearest(name, known)
        suggestion = did_you_mean(name, known) or hint
        super().__init__(f"There is no {kind} called {name!r}.", hint=suggestion)


class InvalidSpec(CallerError):
    """A spec file is invalid. `problems` are ``place: what``."""

    def __init__(self, place: str, problems: Iterable[str], *, hint: str = "") -> None:
        self.place = place
        self.problems = list(problems)
        listed = "; ".join(problem.rstrip(".") for problem in self.problems)
        super().__init__(f"{place}: {listed}{'' if listed.endswith('?') else '.'}", hint=hint)


class InvalidWorkflow(CallerError):
    """A workflow document cannot be run. `problems` lists every reason."""

    def __init__(self, problems: Iterable[str], *, hint: str = "") -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems), hint=hint)


class NotAllowed(CallerError):
    """The policy denies the call; nothing was sent."""

    _meaning = DECIDED


class AddressRefused(NotAllowed):
    """A workflow's request leads to an address that is not public; nothing was sent there."""


class Declined(NotAllowed):
    """The call requires approval, which was not given; nothing was sent."""


class PluginError(CallerError):
    """A plugin could not be loaded (strict mode), or two plugins claim one id."""


class MissingDependency(CallerError):
    """A feature needs a library that is not installed. The hint names the extra."""

    _meaning = DECIDED

    def __init__(self, feature: str, extra: str) -> None:
        self.extra = extra
        super().__init__(
            f"{feature} needs the extra {extra!r}.",
            hint=f"Install it with: pip install 'sim-devin[{extra}]'",
        )


class CredentialsError(SimDevinError):
    """There is no usable API key or organization id."""

    exit_code = 3
    _meaning = ACCESS


class MissingCredentials(CredentialsError):
    """A required credential is not set."""


class TransportError(SimDevinError):
    """Network error, or no usable response from the service."""

    exit_code = 4
    _meaning = PASSING


class NotSent(TransportError):
    """The request certainly never reached the service, so repeating it is safe."""

    _meaning = UNTAKEN


class NothingSent(NotSent):
    """A message was not sent, since the session could not be read for a whole grace window."""


class LocalFault(NotSent):
    """This machine lacks a resource: descriptors, threads, memory; nothing was sent.

    It is temporary, or has to be fixed outside of this program; the hint says how.
    """


class TimedOut(TransportError):
    """The deadline passed before a response; unless `sent`, before the request was sent."""

    def __init__(self, message: str, *, sent: bool = True, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.sent = sent

    @property
    def means(self) -> Meaning:
        """A request that was not sent had no effect."""
        return PASSING if self.sent else UNTAKEN


class AmbiguousResult(TransportError):
    """The request may or may not have taken effect. Do not repeat it; the hint says how to check.

    Attributes:
        status: HTTP status of the response; None without a response.
        retry_after: seconds the service asked to wait, or None.
    """

    _meaning = UNCERTAIN

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after = retry_after


class UncertainResult(AmbiguousResult):
    """Not found within the grace window. A person has to decide."""


class ApiError(SimDevinError):
    """The service returned an error.

    Attributes:
        status: HTTP status.
        detail: the service's own explanation, redacted; empty without one.
        problems: field-level problems, ``place: what``.
        request_id: id to quote to the vendor's support, if the response had one.
        retry_after: seconds the service asked to wait, or None.
    """

    exit_code = 5

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        detail: str = "",
        problems: Iterable[str] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.detail = detail
        self.problems = list(problems)
        self.request_id = request_id
        self.retry_after = retry_after

    @property
    def means(self) -> Meaning:
        """Classified by the status if the class does not decide, as for 408 and 425."""
        return self._meaning if type(self) is not ApiError else meaning_of_status(self.status)


class AuthenticationFailed(ApiError, CredentialsError):
    """401: the key is missing, wrong or revoked."""

    exit_code = 3
    _meaning = ACCESS


class PermissionDenied(ApiError, CredentialsError):
    """403: the key lacks a permission. The hint names it if known."""

    exit_code = 3
    _meaning = ACCESS


class OutOfQuota(ApiError):
    """The organization is out of money or quota. A billing problem, not a wrong key."""

    _meaning = replace(ACCESS, final=True)


class BadRequest(ApiError):
    """400 or 422: the service rejected the parameters."""

    _meaning = WRONG


class NotFound(ApiError):
    """404: no such session or organization."""

    _meaning = WRONG


class Conflict(ApiError):
    """409: the session's state does not allow the request."""

    _meaning = meaning_of_status(409)


class RateLimited(ApiError):
    """429: rate limited. `retry_after` is the wait in seconds if the service gave one."""

    _meaning = PASSING


class ServerError(ApiError):
    """5xx: the service failed."""

    _meaning = PASSING


class UnreadableResponse(SimDevinError):
    """The service reported success, but the response cannot be read.

    `accepted` is true if the request may have changed something: do not repeat it.
    """

    exit_code = 5

    def __init__(
        self, message: str, *, status: int = 0, accepted: bool = False, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.accepted = accepted

    @property
    def means(self) -> Meaning:
        """Check first if it was accepted; otherwise it can be retried."""
        if self.accepted:
            return UNCERTAIN
        return meaning_of_status(self.status) if self.status >= 300 else UNTAKEN


class WaitTimedOut(SimDevinError):
    """A wait reached its deadline. The sessions continue; wait again with the same ids."""


class RunFailed(SimDevinError):
    """A workflow run failed."""


class StoreError(SimDevinError):
    """The run store cannot be read or written: a full disk, a damaged or newer file."""


class StoreUnavailable(StoreError):
    """The run store is temporarily unusable: busy, disk full, no permission, connection lost.

    The stored data is intact. The condition passes or has to be fixed outside; the hint says how.
    """

    _meaning = PASSING


class Cancelled(SimDevinError):
    """The caller asked to stop."""

    exit_code = 130
    _meaning = Meaning(final=True)
