"""Workarounds for what Gradio lacks or gets wrong; each fix says what happens without it (seen with 6.31)."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import gradio as gr
from gradio import state_holder
from gradio.block_function import BlockFunction
from gradio.data_classes import FileData, ImageData
from gradio_client.utils import is_http_url_like
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

CACHE_ROUTE = "/gradio_api/file="  # how Gradio addresses a file of its cache; it has no name for it


class CompressedPage:
    """Middleware that sends the page itself compressed.

    Gradio compresses its own scripts only; the page, which holds ours and all texts, was 218 KB instead of 42.
    """

    def __init__(self, app: ASGIApp):
        self.app, self.compressed = app, GZipMiddleware(app, compresslevel=6)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = scope["type"] == "http" and scope["path"] == "/"
        await (self.compressed if page else self.app)(scope, receive, send)


def picture_input(fetch: Callable[[str], Awaitable[str]], **options) -> gr.Image:
    """A `gr.Image` whose value is the path of the untouched upload, or None.

    gr.Image would open the file first, and fail with a server path in the message when it is not a picture; and it
    would fetch an address into memory whatever its size. (Its methods are replaced on the instance: for a subclass,
    Gradio writes a .pyi file beside the source.)

    Args:
        fetch: fetches a picture that is given by its address; returns its path in the cache.
        options: as of `gr.Image`.
    """
    component = gr.Image(type="filepath", image_mode=None, format="png", **options)
    _take_uploads(component, fetch)
    return component


def file_input(fetch: Callable[[str], Awaitable[str]], **options) -> gr.File:
    """A `gr.File` whose value is the path of the upload, or None; arguments as for `picture_input`."""
    component = gr.File(type="filepath", **options)
    _take_uploads(component, fetch)
    return component


def _take_uploads(component: gr.Image | gr.File, fetch: Callable[[str], Awaitable[str]]) -> None:
    move = component.async_move_resource_to_block_cache
    component.preprocess = _uploaded_path  # type: ignore[method-assign, assignment]  # on purpose
    component.async_move_resource_to_block_cache = partial(_to_cache, move, fetch)  # type: ignore[method-assign]


async def _to_cache(move, fetch, source: str | Path | None) -> str | None:
    """Does what `move`, the component's own method, does, except for addresses."""
    if source is None or not is_http_url_like(str(source)):
        return await move(source)
    return await fetch(str(source))


def _uploaded_path(payload: ImageData | FileData | None) -> str | None:
    """Where the upload lies; None without one, and for what is no file, such as a data: URL."""
    if payload is None or payload.path is None or not Path(payload.path).is_file():
        return None
    return str(payload.path)


def strengths_input(**options) -> gr.JSON:
    """A `gr.JSON` that tells programs what it takes: {class name: number}.

    Gradio's own description, "type": {}, is no valid JSON schema, and MCP refuses every call of a tool that has it.
    """
    component = gr.JSON({}, **options)
    described = {"type": "object", "additionalProperties": {"type": "number"}}
    component.api_info = lambda: described  # type: ignore[method-assign]  # on purpose
    return component


def fill_in_missing(demo: gr.Blocks, endpoint: str) -> None:
    """Let a program leave out the last values of an endpoint: they are what the components hold at first.

    Gradio's own client fills them in, but a call over plain HTTP fails; so each value that is added to an endpoint
    breaks every such caller.
    """
    check = demo.validate_inputs

    def filled(block_fn: BlockFunction, inputs: list) -> None:
        if block_fn.api_name == endpoint:
            left = block_fn.inputs[len(inputs) :]
            inputs.extend(component.value for component in left if isinstance(component, gr.components.Component))
        check(block_fn, inputs)

    demo.validate_inputs = filled  # type: ignore[method-assign]  # on purpose


def count_from(demo: gr.Blocks, number: int) -> None:
    """Give the event that is connected next this number, which must be free.

    Gradio numbers events in their order, and a program that joins the queue over plain HTTP names one by its number.
    """
    demo.default_config.fn_id = number


def mend_mcp() -> None:
    """Let all outputs of a tool arrive, also at clients that do not ask to be told of progress.

    Gradio gives those the outputs as one text, without the picture.
    """
    from anyio.to_thread import run_sync
    from gradio.mcp import GradioMCPServer

    async def outputs(self, job) -> list:
        return list(await run_sync(job.result))  # our one tool has several

    GradioMCPServer._execute_tool_without_progress = outputs  # type: ignore[method-assign]  # on purpose


class LightSession(state_holder.SessionState):
    """What Gradio keeps of a visitor, without a copy of every component's settings.

    The copy serves links to the state of a page, which this page does not offer. It takes 150 KB and holds up the event
    loop for 24 ms. Each call of a program is a session of its own, and Gradio keeps the last 10,000.
    """

    def __init__(self, blocks: gr.Blocks):
        bare = SimpleNamespace(default_config=blocks.default_config, blocks=())
        super().__init__(cast(gr.Blocks, bare))  # it reads nothing else

    def _update_config(self, key: int) -> None:
        pass

    def _update_value_in_config(self, key: int, value: object) -> None:
        pass


def lighten_sessions() -> None:
    """Let all sessions that begin from now on be light ones."""
    state_holder.SessionState = LightSession  # type: ignore[misc]  # on purpose
