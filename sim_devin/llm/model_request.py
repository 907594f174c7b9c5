"""One request to a language model through pydantic-ai's direct interface.

The rounds of an agent, its tools and its policy stay with the Agent block; the library only
translates between providers. Its documentation: https://pydantic.dev/docs/ai/advanced-features/direct/
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic_ai import exceptions
from pydantic_ai.direct import model_request
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, infer_model
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.profiles.openai import OpenAIJsonSchemaTransformer as OPENAI_SCHEMAS
from pydantic_ai.providers import Provider, infer_provider_class
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from sim_devin.errors import (
    ApiError,
    AuthenticationFailed,
    BadRequest,
    CallerError,
    Cancelled,
    NotFound,
    NotSent,
    OutOfQuota,
    PermissionDenied,
    RateLimited,
    ServerError,
    SimDevinError,
    TimedOut,
    TransportError,
    UnreadableResponse,
)
from sim_devin.llm.access import Access
from sim_devin.redaction import Redactor
from sim_devin.specs.rewriting import as_object, branched, says_open

ENDPOINT = "endpoint"  # the provider's name of the endpoint that a setting names
LOOK = 0.2  # seconds between looks at whether the run is to stop
LONGEST_NAME = 64  # characters of a response format's name
ENFORCING = frozenset({"anthropic"})  # providers that enforce every schema that they take
LONGEST_EXPLANATION = 300  # characters of what a provider or the library says


def connect(access: Access) -> Model:
    """Return the library's model. No I/O.

    Raises:
        CallerError: there is no such provider, or it lacks something.
        ImportError: the provider's own library is not installed.
    """
    if not access.provider:
        endpoint = OpenAICompatibleProvider(
            ENDPOINT, base_url=access.url, api_key=access.key or None
        )
        return OpenAIChatModel(access.name, provider=endpoint)
    options = {"api_key": access.key, "base_url": access.url}
    given = {name: value for name, value in options.items() if value}

    def provider(name: str) -> Provider[Any]:
        return infer_provider_class(name)(**given)

    try:
        return infer_model(f"{access.provider}:{access.name}", provider)
    except (ValueError, TypeError, exceptions.UserError):
        # Their texts are about the library's own arguments, or quote what they were given.
        raise CallerError(
            f"The provider {access.provider!r} is unknown, or its environment variables are not "
            "set.",
            hint="See https://pydantic.dev/docs/ai/models/overview/ for its requirements.",
        ) from None


def complete(
    model: Model,
    access: Access,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Mapping[str, Any]],
    response_format: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
    retries: int | None,
) -> dict[str, Any]:
    """Ask and return the reply as plain JSON data; see `engine.services.LanguageModel`."""
    history = to_history(messages)
    forced = str(settings.get("toolChoice") or "")
    if forced and not model.profile.get("supports_forced_tool_choice", True):
        _instruct(history, f"Start by calling the tool {forced}.")
        forced = ""
    request = _ask(
        model,
        history,
        _settings(settings, forced, retries),
        _parameters(model, tools, response_format),
        settings.get("cancel"),
    )
    try:
        # A loop and connections of its own: blocks run on threads that come and go.
        response = asyncio.run(request)
    except (exceptions.AgentRunError, exceptions.UserError) as error:
        # The library's error has the request in it, and with it the key.
        raise _failure(error, access) from None
    return to_reply(response, priced=bool(access.provider))


async def _ask(
    model: Model,
    history: list[ModelMessage],
    settings: ModelSettings,
    parameters: ModelRequestParameters,
    cancel: threading.Event | None,
) -> ModelResponse:
    async with model:
        answer = asyncio.ensure_future(
            model_request(
                model, history, model_settings=settings, model_request_parameters=parameters
            )
        )
        while cancel is not None and not answer.done():
            if cancel.is_set():
                answer.cancel()
                await asyncio.wait([answer])
                raise Cancelled("Stopped waiting for the model because the run is stopping.")
            # An event of threads cannot be awaited, so it is looked at now and then.
            await asyncio.wait([answer], timeout=LOOK)
        return await answer


# -- what is sent ----------------------------------------------------------------------------


def to_history(messages: Sequence[Mapping[str, Any]]) -> list[ModelMessage]:
    """Return a block's messages as the library's: what follows an answer is one request."""
    history: list[ModelMessage] = []
    parts: list[ModelRequestPart] = []
    for message in messages:
        if message.get("role") == "assistant":
            if parts:
                history.append(ModelRequest(parts=parts))
                parts = []
            history.append(_answer(message))
        else:
            parts.append(_part(message))
    if parts:
        history.append(ModelRequest(parts=parts))
    return history


def _part(message: Mapping[str, Any]) -> ModelRequestPart:
    content = message.get("content")
    text = content if isinstance(content, str) else json.dumps(content)
    if message.get("role") in ("system", "developer"):
        return SystemPromptPart(text)
    if message.get("role") == "tool":
        name = str(message.get("name"))
        return ToolReturnPart(name, text, tool_call_id=str(message.get("toolCallId") or name))
    return UserPromptPart(text)


def _answer(message: Mapping[str, Any]) -> ModelMessage:
    native = message.get("native")
    if native is not None:
        return ModelMessagesTypeAdapter.validate_python([native])[0]
    text = message.get("content")
    calls = [
        ToolCallPart(
            str(call["name"]),
            call.get("arguments"),
            tool_call_id=str(call.get("id") or call["name"]),
        )
        for call in message.get("toolCalls") or ()
    ]
    return ModelResponse(parts=[*([TextPart(str(text))] if text else []), *calls])


def _instruct(history: list[ModelMessage], text: str) -> None:
    last = history[-1] if history else None
    if isinstance(last, ModelRequest):
        last.instructions = text


def _parameters(
    model: Model,
    tools: Sequence[Mapping[str, Any]],
    response_format: Mapping[str, Any] | None,
) -> ModelRequestParameters:
    functions = [
        ToolDefinition(
            name=str(tool["name"]),
            description=tool.get("description"),
            parameters_json_schema=dict(tool["parameters"]),
        )
        for tool in tools
    ]
    if response_format is None:
        return ModelRequestParameters(function_tools=functions)
    schema = branched(as_object(response_format["schema"]))
    free, enforces = says_open(schema), model.system in ENFORCING
    # What is enforced is closed, every object of it.
    strict = None if free or enforces else response_format.get("strict")
    transformer = model.profile.get("json_schema_transformer")
    if strict and isinstance(transformer, type) and issubclass(transformer, OPENAI_SCHEMAS):
        schema = branched(schema, optional_null=True)  # all properties are required there
    wanted = OutputObjectDefinition(
        json_schema=schema, name=_name(response_format.get("name")), strict=strict
    )
    parameters = ModelRequestParameters(
        function_tools=functions, output_mode="native", output_object=wanted
    )
    if not (free and enforces) and _takes_schema(model, parameters):
        return parameters
    return replace(parameters, output_mode="prompted", output_object=replace(wanted, strict=None))


def _takes_schema(model: Model, parameters: ModelRequestParameters) -> bool:
    """Return whether a model takes the response format as a schema, and not only in words."""
    profile = model.profile
    # Older Gemini models take a schema or tools, not both.
    both = not parameters.function_tools or profile.get("google_supports_tool_combination", True)
    if not (profile.get("supports_json_schema_output", False) and both):
        return False
    try:
        model.prepare_request(None, parameters)
    except Exception:  # whatever the library's rewriting of the schema stumbles over
        return False
    return True


def _name(given: Any) -> str | None:
    """Return the name of a response format in the characters that providers take."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", str(given))[:LONGEST_NAME] if given else None


def _settings(settings: Mapping[str, Any], forced: str, retries: int | None) -> ModelSettings:
    chosen = ModelSettings()
    if settings.get("temperature") is not None:
        chosen["temperature"] = settings["temperature"]
    if settings.get("maxTokens") is not None:
        chosen["max_tokens"] = settings["maxTokens"]
    if settings.get("timeout") is not None:
        chosen["request_timeout"] = settings["timeout"]
    if retries is not None:
        chosen["max_retries"] = retries
    if forced:
        chosen["tool_choice"] = [forced]
    return chosen


# -- what comes back -------------------------------------------------------------------------


def to_reply(response: ModelResponse, *, priced: bool) -> dict[str, Any]:
    """Return the library's response as a reply.

    One that calls tools has no content, since the agent continues; what the model said beside
    its calls is in ``native``, which has to come back with the next request: some providers
    sign their calls and their thoughts.

    Args:
        response: the response.
        priced: whether the provider's list prices apply.
    """
    calls = [part for part in response.parts if isinstance(part, ToolCallPart)]
    texts = [part.content for part in response.parts if isinstance(part, TextPart)]
    usage = response.usage
    reply: dict[str, Any] = {
        "content": "" if calls else "".join(texts),
        "model": response.model_name,
        "tokens": {
            "input": usage.input_tokens,
            "output": usage.output_tokens,
            "total": usage.input_tokens + usage.output_tokens,
        },
    }
    cost = _cost(response) if priced else None
    if cost is not None:
        reply["cost"] = cost
    if calls:
        reply["toolCalls"] = [
            {"id": call.tool_call_id, "name": call.tool_name, "arguments": call.args or {}}
            for call in calls
        ]
        reply["native"] = ModelMessagesTypeAdapter.dump_python([response], mode="json")[0]
    return reply


def _cost(response: ModelResponse) -> dict[str, float] | None:
    """Return US dollars by the price list that comes with genai-prices; None if it has none."""
    if not response.model_name:
        return None
    try:
        price = response.cost()
    except (LookupError, ValueError):
        return None
    return {
        "input": float(price.input_price),
        "output": float(price.output_price),
        "total": float(price.total_price),
    }


# -- what can go wrong -----------------------------------------------------------------------


def _failure(error: Exception, access: Access) -> SimDevinError:
    who = f"The model {access.name}"
    text = Redactor([access.key]).text(str(error))[:LONGEST_EXPLANATION]
    if isinstance(error, exceptions.UserError):
        return CallerError(f"{who} does not support the request: {text}")
    if isinstance(error, (exceptions.ModelTimeoutError, exceptions.ModelRequestTimeout)):
        return TimedOut(f"{who} did not respond in time.")
    if isinstance(error, exceptions.ModelConnectionError):
        if error.phase in ("pool", "connect"):
            return NotSent(f"{who} cannot be reached.")
        return TransportError(f"The connection to the model {access.name} was lost.")
    if isinstance(error, exceptions.ModelAPIError):
        return _answered(error, access, who)
    return UnreadableResponse(f"{who} returned an invalid response: {text}")


def _answered(error: exceptions.ModelAPIError, access: Access, who: str) -> ApiError:
    status = error.status_code if isinstance(error, exceptions.ModelHTTPError) else 0
    cls, hint = _classify(error, status)
    # A provider that refuses a key likes to quote it.
    said = "" if cls is AuthenticationFailed else _explanation(error.body)
    said = Redactor([access.key]).text(said)[:LONGEST_EXPLANATION]
    message = f"{who} returned {f'HTTP {status}' if status else 'an error'}"
    return cls(
        f"{message}: {said}" if said else f"{message}.",
        status=status,
        retry_after=error.retry_after,
        hint=hint,
    )


def _classify(error: exceptions.ModelAPIError, status: int) -> tuple[type[ApiError], str]:
    if status == 401 or isinstance(error, exceptions.ModelAuthenticationError):
        if status == 403:
            return PermissionDenied, "The key may not use this model."
        return AuthenticationFailed, "The provider's API key is missing, wrong or revoked."
    if isinstance(error, exceptions.ModelQuotaExceededError):
        return OutOfQuota, "The provider's account is out of credits or quota."
    if status == 403:
        return PermissionDenied, "The key may not use this model."
    if status == 404 or isinstance(error, exceptions.ModelNotFoundError):
        return NotFound, "Check the model's name."
    if status == 429 or isinstance(error, exceptions.ModelRateLimitError):
        return RateLimited, "Rate limited; wait and try again."
    unavailable = (exceptions.ModelServerError, exceptions.ModelUnavailableError)
    if status >= 500 or isinstance(error, unavailable):
        return ServerError, "The provider failed; try again."
    return (BadRequest if status in (400, 422) else ApiError), ""


def _explanation(body: Any) -> str:
    inner = body.get("error", body) if isinstance(body, Mapping) else body
    said = inner.get("message") if isinstance(inner, Mapping) else inner
    return said if isinstance(said, str) else ""
