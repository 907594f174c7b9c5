"""The model of Agent, Router and Evaluator blocks, unless an app is handed another.

It finds out which provider a model belongs to and with which key; `model_request` asks. That
module brings in pydantic-ai, so it is only loaded when a block first asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sim_devin.calls.transport import check_base_url
from sim_devin.errors import CallerError, MissingCredentials, MissingDependency

if TYPE_CHECKING:
    from pydantic_ai.models import Model

EXTRA = "agent"
UNNAMED = ("", "default")  # what a block without a model asks for

# Provider, as pydantic-ai calls it -> the variables its key is looked for in, the first wins.
# https://pydantic.dev/docs/ai/models/overview/
KEY_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "cerebras": ("CEREBRAS_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "google": ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "openai-chat": ("OPENAI_API_KEY",),
    "openai-responses": ("OPENAI_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "xai": ("XAI_API_KEY",),
}

# Provider -> the variable that moves its address, as its own library has it.
URL_VARIABLES: Mapping[str, str] = {
    "anthropic": "ANTHROPIC_BASE_URL",
    "google": "GOOGLE_GEMINI_BASE_URL",
    "openai": "OPENAI_BASE_URL",
    "openai-chat": "OPENAI_BASE_URL",
    "openai-responses": "OPENAI_BASE_URL",
}

# How the bare names that Sim writes begin -> the provider.
BEGINNINGS: Mapping[str, str] = {
    "gpt-": "openai",
    "chatgpt-": "openai",
    "o1": "openai",
    "o3": "openai",
    "o4": "openai",
    "ft:": "openai",
    "claude-": "anthropic",
    "gemini-": "google",
    "grok-": "xai",
    "deepseek-": "deepseek",
    "mistral-": "mistral",
    "magistral-": "mistral",
    "codestral-": "mistral",
}


@dataclass(frozen=True)
class Access:
    """Where a model is and what opens it. Its repr shows no key."""

    provider: str
    name: str
    url: str = ""
    key: str = ""

    def __repr__(self) -> str:
        return f"Access({self.provider}:{self.name})"


def provider_of(name: str) -> tuple[str, str]:
    """Return the provider of a model and its name there.

    Understands ``provider:name``, ``provider/name`` and bare names such as ``gpt-4o``.

    Raises:
        CallerError: nothing tells which provider it is.
    """
    for beginning, provider in BEGINNINGS.items():
        if name.startswith(beginning):
            return provider, name
    for mark in (":", "/"):
        provider, found, rest = name.partition(mark)
        if found and rest and (mark == ":" or provider in KEY_VARIABLES):
            return provider, rest
    raise CallerError(
        f"Nothing tells which provider the model {name!r} belongs to.",
        hint="Write provider:name, such as openai:gpt-4o, or set SIM_DEVIN_MODEL_URL to an "
        "OpenAI-compatible endpoint that knows the name.",
    )


class PydanticAiModel:
    """Asks any provider that pydantic-ai knows, or one OpenAI-compatible endpoint.

    Args:
        env: where the providers' variables, such as OPENAI_API_KEY, are looked up.
        default: the model of blocks that name none.
        url: address of an OpenAI-compatible endpoint up to and including ``/v1``. All models
            are asked for there, by the name the block has, and no provider's key is sent to it.
        key: the endpoint's key; the block's own is used without one.
        retries: tries after the first one; the provider's library decides when None.
        model: a model of pydantic-ai that answers instead, whatever a block's model is.

    Raises:
        CallerError: the address cannot be used.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        *,
        default: str = "",
        url: str = "",
        key: str = "",
        retries: int | None = None,
        model: Model | None = None,
    ) -> None:
        self._env = env
        self._default = default
        self._url = _checked("SIM_DEVIN_MODEL_URL", url)
        self._key = key
        self._retries = retries
        self._model = model

    def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str,
        tools: Sequence[Mapping[str, Any]] = (),
        response_format: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the reply of a model as plain JSON data; see `engine.services.Model`.

        Raises:
            MissingDependency: pydantic-ai, or the library of the provider, is not installed.
            MissingCredentials: there is no key for the provider.
            CallerError: the model's name or what is asked of it cannot be used.
            ApiError: the provider answered with an error; with `AuthenticationFailed` to 401.
            TransportError: no answer came.
            UnreadableResponse: the answer makes no sense.
        """
        request = _request_module()
        settings = settings or {}
        if self._model is not None:
            chosen, access = self._model, Access("", model)
        else:
            access = self._access(model, str(settings.get("apiKey") or ""))
            chosen = _connect(request, access)
        reply: dict[str, Any] = request.complete(
            chosen,
            access,
            messages,
            tools=tools,
            response_format=response_format,
            settings=settings,
            retries=self._retries,
        )
        return reply

    def _access(self, model: str, own_key: str) -> Access:
        name = (self._default if model in UNNAMED else model).strip()
        if not name:
            raise CallerError(
                "The block names no model.", hint="Fill in its model, or set SIM_DEVIN_MODEL."
            )
        if self._url:
            return Access("", name, self._url, self._key or own_key)
        provider, name = provider_of(name)
        variables = KEY_VARIABLES.get(provider, ())
        found = (self._env.get(variable, "").strip() for variable in variables)
        key = own_key or next(filter(None, found), "")
        if variables and not key:
            raise MissingCredentials(
                f"There is no API key for the provider {provider}.",
                hint=f"Set {variables[0]}, or fill in the block's API key.",
            )
        variable = URL_VARIABLES.get(provider, "")
        return Access(provider, name, _checked(variable, self._env.get(variable, "")), key)


def _checked(variable: str, url: str) -> str:
    try:
        return check_base_url(url) if url else ""
    except CallerError as error:
        raise CallerError(
            f"{variable}: {error.message}",
            hint="Use an address such as https://models.example.com/v1.",
        ) from None


def _connect(request: ModuleType, access: Access) -> Any:
    try:
        return request.connect(access)
    except ImportError as error:
        missing = MissingDependency(f"The provider {access.provider}", EXTRA)
        missing.hint = f"Install it with: pip install 'pydantic-ai-slim[{access.provider}]'"
        raise missing from error


def _request_module() -> ModuleType:
    try:
        from sim_devin.llm import model_request
    except ImportError as error:
        raise MissingDependency("A block that asks a language model", EXTRA) from error
    return model_request
