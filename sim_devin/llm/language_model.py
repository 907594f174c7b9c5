"""The model of Agent, Router and Evaluator blocks, unless an app is handed another.

`access` knows which provider a model belongs to; `model_request` asks. That module brings in
pydantic-ai, so it is only loaded when a block first asks.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sim_devin.calls.transport import check_base_url
from sim_devin.errors import CallerError, MissingCredentials, MissingDependency
from sim_devin.llm.access import KEY_VARIABLES, URL_VARIABLES, Access, provider_of

if TYPE_CHECKING:
    from pydantic_ai.models import Model

EXTRA = "agent"
UNNAMED = ("", "default")  # what a block without a model asks for


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
        """Return the reply of a model as plain JSON data; see `engine.services.LanguageModel`.

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

    def require_installed(self) -> None:
        """Check that the library is there; it is not loaded.

        Raises:
            MissingDependency: it is not installed.
        """
        if importlib.util.find_spec("pydantic_ai") is None:
            raise MissingDependency("A block that uses a language model", EXTRA)

    def require_access(self, model: str, own_key: str) -> None:
        """Check that a block's model can be asked, without asking.

        Raises:
            CallerError: its name says of no provider, or there is none.
            MissingCredentials: there is no key for the provider.
        """
        if self._model is None:
            self._access(model, own_key)

    def _access(self, model: str, own_key: str) -> Access:
        name = (self._default if model in UNNAMED else model).strip()
        if not name:
            raise CallerError(
                "The block names no model.", hint="Set its model, or SIM_DEVIN_MODEL."
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
                hint=f"Set {variables[0]}, or the block's API key.",
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
        raise MissingDependency("A block that uses a language model", EXTRA) from error
    return model_request
