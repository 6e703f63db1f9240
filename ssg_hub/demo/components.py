"""A picture upload that hands the file over as it came: 16 bits, alpha, profile and rotation are ours to read."""

from pathlib import Path

import gradio as gr
from gradio.data_classes import ImageData


def picture_input(**options) -> gr.Image:
    """A `gr.Image` whose value is the path of the untouched upload, or None.

    gr.Image would open the file first, and fail with a server path in the message when it is not a picture. (Its
    method is replaced on the instance: for a subclass, Gradio writes a .pyi file beside the source.)
    """
    component = gr.Image(type="filepath", image_mode=None, format="png", **options)
    component.preprocess = _uploaded_path
    return component


def _uploaded_path(payload: ImageData | None) -> str | None:
    """Where the upload lies; None without one, and for what is no file, such as a data: URL."""
    if payload is None or payload.path is None or not Path(payload.path).is_file():
        return None
    return str(payload.path)
