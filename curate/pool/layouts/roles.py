"""Role names as data sets write them, and the four roles of a row that they mean."""

from curate.pool.layouts.example import Roles

ROLE_MAP = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "tool": "tool",
    "observation": "tool",
    "function": "tool",
    "ipython": "tool",
    "tool_response": "tool",
    "tool-response": "tool",
    "tool_result": "tool",
    "function_response": "tool",
    "function-response": "tool",
}
# Turns of these roles are calls of tools, which are the assistant's.
CALLS = ("function_call", "tool_call", "function-call", "tool_calls")


def map_role(name: str, roles: Roles) -> str:
    """Return the role that a name means: the recipe's map first, then the usual ones in any case."""
    return roles.get(name) or ROLE_MAP.get(name.strip().lower(), name)
