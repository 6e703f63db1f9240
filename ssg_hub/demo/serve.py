"""Serving the page: what `python app.py` and `ssg demo` run."""

import os
import socket
from typing import Any

# Before gradio reads them. Its statistics are of use to nobody here, and it makes them anew after each request.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")

from .cache import own_cache
from .settings import LENT, from_environment, to_bytes  # on ZeroGPU before torch

os.environ["GRADIO_TEMP_DIR"] = own_cache()  # before gradio reads it

import gradio as gr
import torch
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from ..devices import choose_device
from ..errors import ConfigError
from ..loading import load_model
from ..processes.memory import return_large_blocks
from ..processes.signals import ended_in_order
from . import decoding, viewer
from .archive import archive_route
from .cache import swept
from .gradio_fixes import CompressedPage, lighten_sessions, mend_mcp
from .guard import RequestLimits
from .line import settle
from .page import Page, build_demo
from .programs import has_mcp

__all__ = ["build_demo", "launch", "main"]

THREADS = 20  # of Gradio's, beside one for each visitor in the line
SESSIONS = 2000  # visitors and calls of programs whose state is kept; the one that was silent longest is forgotten


@ended_in_order()
def main(**options) -> None:
    """Serve the page until the process is ended; settings come from the environment, `options` go to `launch`.

    As a container ends it, too: Gradio then closes in order, and the cache is emptied.

    Raises:
        SSGError: a setting is impossible, this machine lacks the device, the address is not free, or the model cannot
            be loaded.
    """
    return_large_blocks()
    settings = from_environment()
    if not LENT:
        choose_device(torch.device("cpu"), settings.device)
    check_address(options.get("server_name"), options.get("server_port"))
    demo = build_demo(load_model(settings.model), settings)
    _, url, _ = launch(demo, quiet=True, prevent_thread_lock=True, **options)
    print(f"* The page is at {url} (Ctrl+C ends it)", flush=True)
    demo.block_thread()


def check_address(host: str | None, port: int | None) -> None:
    """Find out whether the page can be served there, before a model is loaded.

    Args:
        host: None is what Gradio's environment variable says, or this machine alone.
        port: None is any that is free.

    Raises:
        ConfigError: it cannot.
    """
    host = host or os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1"
    try:
        family, *_, address = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)[0]
        socket.create_server((address[0], port or 0), family=family).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        where = host if port is None else f"{host}, port {port}"
        raise ConfigError(
            f"the page cannot be served at {where} ({reason}). Choose another host or port, or leave the port out for "
            "the next one that is free."
        ) from None


def launch(demo: Page, **options):
    """Serve the page with its theme, texts and limits; `options` go to `gr.Blocks.launch`, whose result is returned."""
    settings, ledger = demo.settings, demo.ledger
    limits = Middleware(RequestLimits, to_bytes(settings.max_file_size), settings.max_files, ledger)
    statics = [Mount(f"/{viewer.STATIC}{name}", StaticFiles(directory=viewer.ROOM / name)) for name in viewer.PICTURES]
    decoding.start()
    settle()
    lighten_sessions()
    demo.line.prepare(demo.workshop.warm_up)
    if has_mcp():
        mend_mcp()
    usual: dict[str, Any] = {
        "theme": theme(),
        "css_paths": [viewer.ROOM / "style.css", viewer.ROOM / "clips.css"],
        "i18n": demo.i18n,
        "max_file_size": settings.max_file_size,
        "app_kwargs": {
            "lifespan": lambda app: swept(ledger, settings.keep_seconds),
            "middleware": [limits, Middleware(CompressedPage)],
            "routes": [archive_route(ledger.folder, settings.max_files), *statics],
        },
        "mcp_server": has_mcp(),
        "state_session_capacity": SESSIONS,
        "max_threads": settings.queue_size + THREADS,
        "run_history": False,
        "footer_links": ["api"],
        "ssr_mode": False,
    }
    return demo.launch(**(usual | options))


def theme() -> gr.themes.Base:
    """Teal on slate, with the system's own fonts, and enough contrast for small print (WCAG AA)."""
    sans = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Noto Sans CJK SC", "sans-serif")
    return gr.themes.Base(
        primary_hue="teal", secondary_hue="teal", neutral_hue="slate", font=sans, radius_size="lg", text_size="md"
    ).set(
        body_background_fill="#f7f7f4",
        body_background_fill_dark="#0b1018",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_shadow="none",
        block_padding="0px",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_title_text_weight="600",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_100",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
    )
