"""The tree of errors: exit codes, texts, pickling, JSON."""

import copy
import inspect
import json
import pickle

import pytest

from sim_devin import errors
from sim_devin.errors import SimDevinError
from sim_devin.text import did_you_mean, nearest

SAMPLES = [
    SimDevinError("It failed.", hint="Do this."),
    errors.CallerError("Wrong."),
    errors.InvalidParams("devin_get_session", ["a: bad", "b: worse"], hint="See docs."),
    errors.UnknownName("tool", "devin_get_sesion", ["devin_get_session"]),
    errors.UnknownName("block", "zzz", ["devin"], hint="See sim-devin tools."),
    errors.InvalidSpec("x.tool.json", ["id: is missing"]),
    errors.InvalidWorkflow(["no start", "no end"]),
    errors.PluginError("broken"),
    errors.MissingDependency("The canvas", "web"),
    errors.CredentialsError("No."),
    errors.MissingCredentials("Devin needs apiKey.", hint="Set DEVIN_API_KEY."),
    errors.TransportError("Gone."),
    errors.NothingSent("Nothing was sent."),
    errors.NotSent("Not connected."),
    errors.TimedOut("Too late."),
    errors.AmbiguousResult("Unknown.", status=429, retry_after=3.0, hint="Look."),
    errors.UncertainResult("Still unknown."),
    errors.ApiError("HTTP 418.", status=418),
    errors.AuthenticationFailed("HTTP 401.", status=401),
    errors.PermissionDenied("HTTP 403.", status=403, detail="no", hint="Ask."),
    errors.OutOfQuota("HTTP 402.", status=402),
    errors.BadRequest("HTTP 422.", status=422, problems=["a: b"]),
    errors.NotFound("HTTP 404.", status=404, request_id="r"),
    errors.Conflict("HTTP 409.", status=409),
    errors.RateLimited("HTTP 429.", status=429, retry_after=1.5),
    errors.ServerError("HTTP 500.", status=500),
    errors.UnreadableResponse("Odd.", status=200, accepted=True),
    errors.WaitTimedOut("Waited."),
    errors.RunFailed("Failed."),
    errors.StoreError("Full."),
    errors.StoreUnavailable("Busy."),
    errors.LocalFault("Too many open files."),
    errors.NotAllowed("Not you."),
    errors.AddressRefused("Not there."),
    errors.Declined("Nobody said yes."),
    errors.Cancelled("Stopped."),
]

EXIT_CODES = {
    "SimDevinError": 1,
    "CallerError": 2,
    "InvalidParams": 2,
    "UnknownName": 2,
    "InvalidSpec": 2,
    "InvalidWorkflow": 2,
    "PluginError": 2,
    "MissingDependency": 2,
    "NotAllowed": 2,
    "AddressRefused": 2,
    "Declined": 2,
    "CredentialsError": 3,
    "MissingCredentials": 3,
    "AuthenticationFailed": 3,
    "PermissionDenied": 3,
    "TransportError": 4,
    "NotSent": 4,
    "NothingSent": 4,
    "TimedOut": 4,
    "AmbiguousResult": 4,
    "UncertainResult": 4,
    "ApiError": 5,
    "OutOfQuota": 5,
    "BadRequest": 5,
    "NotFound": 5,
    "Conflict": 5,
    "RateLimited": 5,
    "ServerError": 5,
    "UnreadableResponse": 5,
    "WaitTimedOut": 1,
    "RunFailed": 1,
    "StoreError": 1,
    "StoreUnavailable": 1,
    "LocalFault": 4,
    "Cancelled": 130,
}

ERRORS = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, SimDevinError)
]


def named(error):
    return type(error).__name__


def test_every_class_has_its_exit_code():
    assert {kind.__name__: kind.exit_code for kind in ERRORS} == EXIT_CODES


def test_every_class_has_a_sample():
    assert {type(error) for error in SAMPLES} == set(ERRORS)


def test_every_class_is_drawn_in_the_tree():
    for kind in ERRORS:
        assert kind.__name__ in errors.__doc__
        assert kind.__doc__


@pytest.mark.parametrize("error", SAMPLES, ids=named)
def test_errors_are_copied_and_pickled_whole(error):
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is type(error)
        assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))


@pytest.mark.parametrize("error", SAMPLES, ids=named)
def test_errors_are_json(error):
    told = json.loads(json.dumps(error.to_json()))
    assert told["type"] == type(error).__name__
    assert told["message"] == error.message
    assert told["hint"] == error.hint
    assert told["exitCode"] == error.exit_code
    own = {name: value for name, value in vars(error).items() if name not in ("message", "hint")}
    assert told.items() >= own.items()


@pytest.mark.parametrize("error", SAMPLES, ids=named)
def test_the_text_is_the_message_and_the_hint(error):
    assert str(error) == f"{error.message} {error.hint}".strip()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SAMPLES[0], "It failed. Do this."),
        (SAMPLES[2], "devin_get_session: a: bad; b: worse. See docs."),
        (
            SAMPLES[3],
            "There is no tool called 'devin_get_sesion'. Did you mean 'devin_get_session'?",
        ),
        (SAMPLES[4], "There is no block called 'zzz'. See sim-devin tools."),
        (SAMPLES[5], "x.tool.json: id: is missing."),
        (
            SAMPLES[8],
            "The canvas needs the extra 'web'. Install it with: pip install 'sim-devin[web]'",
        ),
    ],
)
def test_texts(error, text):
    assert str(error) == text


def test_problems_stay_a_list():
    assert SAMPLES[2].problems == ["a: bad", "b: worse"]
    assert SAMPLES[6].message == "no start; no end"
    assert errors.InvalidParams("x", iter(["a"])).problems == ["a"]


@pytest.mark.parametrize("kind", [errors.AuthenticationFailed, errors.PermissionDenied])
def test_refused_credentials_are_credentials_errors_and_api_errors(kind):
    assert issubclass(kind, errors.CredentialsError)
    assert issubclass(kind, errors.ApiError)


def test_money_is_no_matter_of_credentials():
    assert not issubclass(errors.OutOfQuota, errors.CredentialsError)


@pytest.mark.parametrize(
    ("name", "known", "close", "sentence"),
    [
        ("limt", ["limit", "after"], ["limit"], "Did you mean 'limit'?"),
        ("tag", ["tags", "tab"], ["tags", "tab"], "Did you mean 'tags' or 'tab'?"),
        ("zzz", ["limit"], [], ""),
        ("", [], [], ""),
    ],
)
def test_nearest_names(name, known, close, sentence):
    assert nearest(name, known) == close
    assert did_you_mean(name, iter(known)) == sentence


def statuses(kind, *numbers):
    return [kind(f"HTTP {number}.", status=number) for number in numbers]


TEMPORARY = [
    errors.NotSent("x"),
    errors.TimedOut("x"),
    errors.TransportError("x"),
    *statuses(errors.ApiError, 408, 425, 500, 503, 529),
    *statuses(errors.RateLimited, 429),
    *statuses(errors.ServerError, 500, 502, 503, 504, 520),
    errors.UnreadableResponse("x", accepted=False),
]
NEEDS_ACCESS = [
    errors.MissingCredentials("x"),
    errors.AuthenticationFailed("x", status=401),
    errors.PermissionDenied("x", status=403),
    errors.OutOfQuota("x", status=402),
    errors.OutOfQuota("x", status=403),
    *statuses(errors.ApiError, 401, 402, 403),
]
CALLERS = [
    errors.InvalidParams("x", ["y"]),
    errors.UnknownName("x", "y", []),
    errors.BadRequest("x", status=422),
    errors.NotFound("x", status=404),
    errors.Conflict("x", status=409),
    *statuses(errors.ApiError, 405, 410, 413, 418, 451),
]
UNCERTAIN = [
    errors.AmbiguousResult("x"),
    errors.UncertainResult("x"),
    errors.UnreadableResponse("x", accepted=True),
]


@pytest.mark.parametrize(
    ("kind", "those"),
    [
        ("temporary", TEMPORARY),
        ("access", NEEDS_ACCESS),
        ("callers_fault", CALLERS),
        ("uncertain", UNCERTAIN),
    ],
)
def test_an_error_is_one_of_temporary_access_the_callers_or_uncertain(kind, those):
    kinds = ("temporary", "access", "callers_fault", "uncertain")
    for error in those:
        assert [name for name in kinds if getattr(error.means, name)] == [kind], repr(error)


def test_only_what_was_never_taken_did_nothing():
    conflicts = [errors.Conflict("x", status=409)]
    proven = [errors.NotSent("x"), errors.TimedOut("x", sent=False), *NEEDS_ACCESS]
    proven += [error for error in CALLERS if not isinstance(error, errors.Conflict)]
    assert all(error.means.did_nothing for error in proven)
    open_to_doubt = [
        errors.TimedOut("x"),
        *conflicts,
        errors.UnreadableResponse("x", status=500),
        *statuses(errors.ApiError, 425),
        *statuses(errors.RateLimited, 429),
        *statuses(errors.ApiError, 408, 302),
        *statuses(errors.ServerError, 500, 503),
        *UNCERTAIN,
    ]
    assert not any(error.means.did_nothing for error in open_to_doubt)


def test_a_no_is_not_asked_for_twice():
    asked = [errors.Declined("x"), errors.NotAllowed("x"), errors.MissingDependency("x", "y")]
    assert all(error.means.final for error in [*asked, errors.Cancelled("x")])
    assert errors.OutOfQuota("x", status=403).means.final  # money does not come back by asking
    access = [error for error in NEEDS_ACCESS if not isinstance(error, errors.OutOfQuota)]
    assert not any(error.means.final for error in [*TEMPORARY, *access, *UNCERTAIN])
