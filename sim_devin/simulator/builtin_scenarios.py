"""The built-in scenarios, in the format of a scenario file."""

from __future__ import annotations

from typing import Any

from sim_devin.simulator.scenario import SUSPENSIONS, Scenario, parse_scenarios

_STARTING: list[dict[str, Any]] = [
    {"at": 2, "status": "claimed"},
    {"at": 5, "status": "running", "message": "I'll take a look."},
    {"at": 45, "acus": 0.2},
]

_PULL_REQUEST = {
    "pull_requests": [{"pr_url": "https://github.com/{repo}/pull/{number}", "pr_state": "open"}]
}

_FINISHING: list[dict[str, Any]] = [
    {"at": 60, "acus": 0.4, **_PULL_REQUEST},
    {"at": 120, "message": "Done. The tests pass.", "structured_output": "auto", "acus": 0.75},
    {"at": 130, "complete": True},
]

_LATER_FINISH = [{**step, "at": step["at"] + 90} for step in _FINISHING]

_FILES: list[dict[str, Any]] = [
    {
        "name": "report.md",
        "content": "# Report\n\nAll checks passed.\n",
        "content_type": "text/markdown",
    }
]

_DATA: list[dict[str, Any]] = [
    {
        "name": "finish",
        "description": "Works for about four minutes, opens a pull request, finishes.",
        "steps": [
            *_STARTING,
            _LATER_FINISH[0],
            {**_LATER_FINISH[1], "attachments": _FILES},
            _LATER_FINISH[2],
        ],
    },
    {
        "name": "asks",
        "description": "Asks a question, and finishes after the answer.",
        "steps": [
            *_STARTING,
            {"at": 60, "message": "Which branch should I target?", "wait_for_user": True},
            {"at": 5, "message": "Thanks, going on with: {answer}"},
            *_FINISHING,
        ],
    },
    {
        "name": "waits-when-done",
        "description": "Delivers everything, then waits for the user instead of finishing.",
        "steps": [
            *_STARTING,
            *_LATER_FINISH[:2],
            {"at": 215, "message": "Anything else?", "wait_for_user": True},
        ],
    },
    {
        "name": "approval",
        "description": "Asks for approval, which any message gives, and finishes.",
        "steps": [
            *_STARTING,
            {
                "at": 60,
                "message": "May I run the migration?",
                "wait_for_user": True,
                "status_detail": "waiting_for_approval",
            },
            *_FINISHING,
        ],
    },
    {
        "name": "sleeps",
        "description": "Falls asleep in the middle; a message wakes it and it finishes.",
        "steps": [
            *_STARTING,
            {
                "at": 60,
                "status": "suspended",
                "status_detail": "inactivity",
                "wait_for_user": True,
            },
            *_FINISHING,
        ],
    },
    *(
        {
            "name": detail,
            "description": f"Suspended with {detail}: {meaning}.",
            "steps": [*_STARTING, {"at": 60, "status": "suspended", "status_detail": detail}],
        }
        for detail, meaning in SUSPENSIONS.items()
    ),
    {
        "name": "new-detail",
        "description": "Suspended with a status_detail unknown to older clients.",
        "steps": [
            *_STARTING,
            {"at": 60, "status": "suspended", "status_detail": "contract_expired"},
        ],
    },
    {
        "name": "fails",
        "description": "Ends with status error.",
        "steps": [
            *_STARTING,
            {"at": 60, "message": "The machine could not be restored."},
            {"at": 61, "status": "error", "status_detail": "error"},
        ],
    },
    {
        "name": "exits",
        "description": "Does the work and ends with status exit.",
        "steps": [*_STARTING, *_LATER_FINISH[:2], {"at": 220, "status": "exit"}],
    },
    {
        "name": "unknown-status",
        "description": "Passes through an unknown status and detail, and finishes.",
        "steps": [
            *_STARTING,
            {"at": 60, "status": "hibernating", "status_detail": "moon_phase"},
            {"at": 120, "status": "running"},
            *_LATER_FINISH,
        ],
    },
    {
        "name": "never-ends",
        "description": "Works forever, using an ACU every fifteen minutes for the first day.",
        "steps": [
            *_STARTING,
            *({"at": 900 * quarter, "acus": float(quarter)} for quarter in range(1, 97)),
        ],
    },
]

BUILTINS: dict[str, Scenario] = {
    scenario.name: scenario for scenario in parse_scenarios({"scenarios": _DATA}, source="built-in")
}
