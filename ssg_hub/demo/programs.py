"""How a program or a language model uses the running demo: lines to copy, with this server's own address in them."""

import importlib.util
import json
import re

import gradio as gr

from .texts import language, text


def has_mcp() -> bool:
    """Whether Gradio's extra `mcp` is installed, without which there is no MCP server."""
    return importlib.util.find_spec("mcp") is not None


def explain(request: gr.Request, mcp: bool) -> str:
    """The lines to copy, as Markdown, in the visitor's language; those for MCP only where it is served."""
    lang, address = language(request), _address(request)
    python = (
        "from gradio_client import Client, handle_file\n\n"
        f'client = Client("{address}")\n'
        'picture, mask, report = client.predict(handle_file("photo.jpg"), api_name="/upscale")'
    )
    parts = [text("programs_api", lang), f"```python\n{python}\n```"]
    if mcp:
        config = json.dumps({"mcpServers": {"ssg-hub": {"url": f"{address}/gradio_api/mcp/"}}}, indent=2)
        parts += [text("programs_mcp", lang), f"```json\n{config}\n```"]
    return "\n\n".join(parts)


def _address(request: gr.Request) -> str:
    """How the visitor reached this server, behind a proxy too."""
    headers = request.headers
    scheme = headers.get("x-forwarded-proto", "http").split(",")[0].strip()
    host = headers.get("x-forwarded-host") or headers.get("host") or ""
    return (
        f"{scheme}://{host}"
        if re.fullmatch(r"[\w.:\[\]-]+", host) and scheme in ("http", "https")
        else "http://127.0.0.1:7860"
    )
