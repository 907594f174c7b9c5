"""Which provider a model belongs to, where it is and what opens it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sim_devin.errors import CallerError

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
        f"Cannot tell which provider the model {name!r} belongs to.",
        hint="Use provider:name, such as openai:gpt-4o, or set SIM_DEVIN_MODEL_URL to an "
        "OpenAI-compatible endpoint that serves it.",
    )
