"""The demo as a tool for language models: a real MCP client over HTTP gets the same pixels as the library."""

import ast
import asyncio
import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

gr = pytest.importorskip("gradio", reason="gradio is not installed (pip install 'ssg-hub[demo]')")
mcp = pytest.importorskip("mcp", reason="the mcp package is not installed (pip install 'ssg-hub[mcp]')")

from mcp.client.streamable_http import streamable_http_client  # noqa: E402


def call(url: str, arguments: dict | None, on_progress=None):
    """Call the tool `upscale`; without arguments, list the tools."""

    async def session():
        async with (
            streamable_http_client(f"{url.rstrip('/')}/gradio_api/mcp/") as (read, write, _),
            mcp.ClientSession(read, write) as client,
        ):
            await client.initialize()
            if arguments is None:
                return await client.list_tools()
            return await client.call_tool("upscale", arguments, progress_callback=on_progress)

    return asyncio.run(asyncio.wait_for(session(), 120))


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (18, 24, 3), np.uint8))


@pytest.fixture
def data_url(picture) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def test_there_are_two_tools_and_they_say_what_they_take(demo_of_all):
    tools = call(demo_of_all[0], None).tools
    assert [tool.name for tool in tools] == ["upscale", "upscale_clip"]
    assert "not evidence" in tools[0].description
    schema = tools[0].inputSchema
    assert schema["required"] == ["image"] and schema["properties"]["image"]["type"] == "string"
    assert "bicubic" in schema["properties"]["strength"]["description"]
    # Gradio reads one line of a docstring for each argument
    descriptions = [value["description"] for tool in tools for value in tool.inputSchema["properties"].values()]
    assert all(description.endswith(".") for description in descriptions), descriptions


@pytest.mark.parametrize("told", [True, False])
def test_a_language_model_gets_the_pixels_of_the_library(tiny_model, demo_of_all, picture, data_url, told):
    heard = []

    async def on_progress(progress, total, message):
        heard.append(message)

    arguments = {"image": data_url, "outscale": 3, "strength": 0.7, "class_strength": {"car": 0.5}}
    answer = call(demo_of_all[0], arguments, on_progress if told else None)
    assert not answer.isError and bool(heard) == told, heard
    pictures = [Image.open(io.BytesIO(base64.b64decode(part.data))) for part in answer.content if part.type == "image"]
    strength = {label: 0.35 if label == "car" else 0.7 for label in tiny_model.labels}
    expected = tiny_model.upscale(picture, outscale=3, strength=strength)
    assert np.array_equal(pictures[0], expected.image)
    assert pictures[1].mode == "P" and np.array_equal(pictures[1], expected.mask)
    report = ast.literal_eval(answer.content[-1].text)
    assert report["output"] == {"width": 72, "height": 54} and "not evidence" in report["honesty"]


def test_what_was_uploaded_can_be_named_by_its_address(tiny_model, demo_of_all, picture, tmp_path):
    import httpx

    url = demo_of_all[0].rstrip("/")
    picture.save(tmp_path / "photo.png")
    with open(tmp_path / "photo.png", "rb") as file:
        path = httpx.post(f"{url}/gradio_api/upload", files={"files": file}).json()[0]
    answer = call(url, {"image": f"{url}/gradio_api/file={path}", "segment": False})
    got = Image.open(io.BytesIO(base64.b64decode(answer.content[0].data)))
    assert np.array_equal(got, tiny_model.upscale(picture, segment=False).image)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"image": "/etc/passwd"}, "provide a url"),
        ({"image": {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}}, "not of type 'string'"),
        ({"image": "http://127.0.0.1:9/x.png"}, "can be fetched from this address"),
        ({"image": "data:image/png;base64,AAAA"}, "not a picture"),
        ({}, "'image' is a required property"),
        ({"image": "DATA", "model": "/etc"}, "not a model that is offered"),
        ({"image": "DATA", "outscale": 99}, "outscale is 99"),
        ({"image": "DATA", "class_strength": {"path": "/etc/passwd"}}, "not of type 'number'"),
    ],
)
def test_what_cannot_be_done_is_said_without_server_paths(demo_of_all, data_url, arguments, words):
    url, cache = demo_of_all
    arguments = {key: data_url if value == "DATA" else value for key, value in arguments.items()}
    answer = call(url, arguments)
    said = json.dumps([part.text for part in answer.content if part.type == "text"])
    assert answer.isError and words in said
    assert str(cache) not in said and "Traceback" not in said and "root:" not in said
    assert not list(cache.rglob("*passwd*")), "a file of the server came into the cache"
