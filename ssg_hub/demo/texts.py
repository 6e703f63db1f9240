"""Every sentence of the demo, in English and Chinese."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # only then: the cache's place is set before gradio is imported
    import gradio as gr
    from gradio.i18n import I18nData

PREFIX = "ssg_"  # Gradio has keys of its own

TEXTS = {
    "en": {
        "title": "# ssg-hub\nSharper photographs, guided by what is in them.",
        "input": "Your photograph",
        "input_hint": "Drop a photograph here\nor click to choose one",
        "limits": "Up to {mp_in} megapixels in and {mp_out} out, {file_size} a file. PNG, JPEG, WebP or TIFF.",
        "forecast": "**{w} × {h}** becomes **{ow} × {oh}** · {tiles} on {device}",
        "about": " · about {seconds}",
        "tiles": "{n} tiles",
        "tile": "1 tile",
        "too_large_in": "This picture has {mp} megapixels; at most {limit} are taken here. Reduce it first.",
        "too_large_out": "The result would have {mp} megapixels; at most {limit} are made here. "
        "Choose a smaller factor.",
        "no_picture": "This file is not a picture that can be read. Choose a PNG, JPEG, WebP or TIFF file.",
        "need_picture": "There is no picture yet. Choose one first.",
        "too_large_body": "This is larger than what is taken here. Reduce the picture, or save it as JPEG, first.",
        "no_room": "The server has no room for more pictures at the moment. Try again in a few minutes.",
        "too_slow": "This arrived too slowly, so the server stopped waiting. Try again, or send a smaller file.",
        "not_fetched": "No picture can be fetched from this address. Upload the file instead.",
        "bad_title": "This did not work",
        "failed": "Something went wrong on our side. Try again, or try a smaller picture.",
        "outscale": "How much larger",
        "outscale_info": "Width and height, times this",
        "strength": "How much detail to add",
        "strength_info": "0 only enlarges (bicubic, nothing invented); 1 adds all that the network sees",
        "run": "Upscale",
        "cancel": "Cancel",
        "cancelled": "Cancelled.",
        "busy": "Too many pictures are waiting at the moment. Try again in a minute.",
        "unknown_model": "{name} is not a model that is offered here. Choose one of {names}.",
        "model_not_loaded": "The model {name} cannot be loaded at the moment. Choose another one.",
        "class_strength_form": 'class_strength is {value}; it needs a form like {{"car": 0.5}}.',
        "waiting": "Waiting: {n} before you",
        "waiting_next": "Waiting: you are next",
        "reading": "Reading the picture",
        "upscaling": "Upscaling",
        "upscaling_tile": "Upscaling: tile {done} of {total}",
        "writing": "Writing the files",
        "left_over": "about {seconds} left",
        "advanced": "More settings",
        "model": "Model",
        "this_model": "ssg-hub",
        "second": "Compare with a second model",
        "second_info": "Both run; this takes longer",
        "second_none": "none",
        "left": "On the left",
        "side_by_side": "Side by side",
        "side_by_side_hint": "Point, or use the arrow keys: every panel shows the same place.",
        "zoom": "Zoom",
        "segment": "Name what is in the picture",
        "segment_info": "Gives the mask and the map of what may be invented",
        "color_fix": "Keep the colours of the original",
        "color_fix_info": "Corrects a colour cast that a network may add",
        "tile_size": "Tile size",
        "tile_info": "Smaller needs less memory",
        "tile_auto": "automatic",
        "tile_none": "whole picture at once",
        "per_class": "Detail by class",
        "per_class_info": "Set these after a first run: they follow what was found in your picture.",
        "slider": "Before and after",
        "classes": "What is in it",
        "overlay": "Overlay",
        "overlay_opacity": "Opacity",
        "drift": "What may be invented",
        "drift_info": "Dark: the picture means the same as before. Bright: it means something else after upscaling, "
        "so detail there may be invented.",
        "result_hint": "Move the handle to compare. The wheel zooms.",
        "welcome": "### The result will be here\n"
        "1. **Before and after** under one slider, at full size, without loss.\n"
        "2. **What is in it**: sky, road, car, tree … as a mask with its legend.\n"
        "3. **What may be invented**: a map of where the picture now means something else.\n\n"
        "Choose a photograph, or one of the examples. The server deletes it after {minutes} minutes.",
        "uncertain": "uncertain",
        "uncertain_info": "Hatched: the guide is not sure what this is.",
        "facts": "{w} × {h} in **{seconds}** on {device} · {tiles}{tile} · {dtype}",
        "tile_of": " of {tile} px",
        "honesty": "**An upscaled picture is an estimate.** Plates, faces and text may be invented. "
        "It is not evidence.",
        "get_picture": "⤓ Picture",
        "get_mask": "⤓ Mask",
        "get_zip": "⤓ Everything (ZIP)",
        "examples": "Examples",
        "failure": "Where it fails: a face of forty pixels. What comes out is invented",
        "more_examples": "More examples: turned by EXIF, transparent, 16 bits",
        "programs": "For programs and agents",
        "programs_api": "In Python, with `pip install gradio_client`:",
        "programs_mcp": "As a tool for language models, by MCP:",
        "programs_no_mcp": "As a tool for language models (MCP): it is off on this server, because gradio's extra "
        '`mcp` is not installed. Whoever runs it can add it: `pip install "gradio[mcp]"`.',
        "bicubic": "the original, enlarged (bicubic)",
        "seconds": "{n} s",
        "minutes": "{n} min",
    },
    "zh": {
        "title": "# ssg-hub\n理解画面内容，让照片更清晰。",
        "input": "您的照片",
        "input_hint": "把照片拖到这里\n或点击选择",
        "limits": "输入最多 {mp_in} 百万像素，输出最多 {mp_out} 百万像素，"
        "文件最大 {file_size}。支持 PNG、JPEG、WebP、TIFF。",
        "forecast": "**{w} × {h}** 将变为 **{ow} × {oh}** · {tiles}，{device}",
        "about": " · 约需 {seconds}",
        "tiles": "{n} 个分块",
        "tile": "1 个分块",
        "too_large_in": "这张图片有 {mp} 百万像素，这里最多接受 {limit} 百万像素。请先缩小图片。",
        "too_large_out": "结果将有 {mp} 百万像素，这里最多生成 {limit} 百万像素。请选择较小的倍数。",
        "no_picture": "这个文件不是可读取的图片。请选择 PNG、JPEG、WebP 或 TIFF 文件。",
        "need_picture": "还没有图片，请先选择一张。",
        "too_large_body": "超出了这里接受的大小。请先缩小图片，或另存为 JPEG。",
        "no_room": "服务器暂时没有空间存放更多图片。请几分钟后重试。",
        "too_slow": "上传太慢，服务器已停止等待。请重试，或上传较小的文件。",
        "not_fetched": "无法从这个地址获取图片。请改为上传文件。",
        "bad_title": "无法完成",
        "failed": "我们这边出了问题。请重试，或换一张较小的图片。",
        "outscale": "放大倍数",
        "outscale_info": "宽和高各乘以此数",
        "strength": "补充多少细节",
        "strength_info": "0 只放大（双三次插值，不编造任何内容）；1 补充网络看到的全部细节",
        "run": "放大",
        "cancel": "取消",
        "cancelled": "已取消。",
        "busy": "现在排队的图片太多。请一分钟后重试。",
        "unknown_model": "这里不提供模型 {name}。请从以下模型中选择：{names}。",
        "model_not_loaded": "模型 {name} 暂时无法加载。请选择其他模型。",
        "class_strength_form": 'class_strength 是 {value}；它需要类似 {{"car": 0.5}} 的格式。',
        "waiting": "排队中：前面还有 {n} 张",
        "waiting_next": "排队中：下一个就是您",
        "reading": "正在读取图片",
        "upscaling": "正在放大",
        "upscaling_tile": "正在放大：第 {done} 块，共 {total} 块",
        "writing": "正在写入文件",
        "left_over": "约剩 {seconds}",
        "advanced": "更多设置",
        "model": "模型",
        "this_model": "ssg-hub",
        "second": "与另一个模型比较",
        "second_info": "两个模型都会运行，需要更多时间",
        "second_none": "无",
        "left": "左侧显示",
        "side_by_side": "并排比较",
        "side_by_side_hint": "移动指针或使用方向键：所有画面显示同一处。",
        "zoom": "缩放",
        "segment": "识别画面内容",
        "segment_info": "给出语义掩码和“可能是编造的”区域图",
        "color_fix": "保持原图颜色",
        "color_fix_info": "修正网络可能带来的偏色",
        "tile_size": "分块大小",
        "tile_info": "越小越省内存",
        "tile_auto": "自动",
        "tile_none": "整张图一次完成",
        "per_class": "按类别设置细节",
        "per_class_info": "运行一次之后即可设置：这里会列出您的图片中找到的类别。",
        "slider": "前后对比",
        "classes": "画面内容",
        "overlay": "叠加图",
        "overlay_opacity": "不透明度",
        "drift": "可能是编造的",
        "drift_info": "暗处：含义与放大前相同。明亮处：放大前后画面的含义不同，那里的细节可能是编造的。",
        "result_hint": "拖动手柄进行比较，滚轮可缩放。",
        "welcome": "### 结果将显示在这里\n"
        "1. **前后对比**：滑块比较，原尺寸，无损。\n"
        "2. **画面内容**：天空、道路、汽车、树木……带图例的掩码。\n"
        "3. **可能是编造的**：标出放大后含义发生变化的地方。\n\n"
        "请选择一张照片或一个示例。服务器会在 {minutes} 分钟后删除它。",
        "uncertain": "不确定",
        "uncertain_info": "斜线区域：模型不确定那是什么。",
        "facts": "{w} × {h}，用时 **{seconds}**，{device} · {tiles}{tile} · {dtype}",
        "tile_of": "，每块 {tile} 像素",
        "honesty": "**放大的图片只是估计。** 车牌、人脸和文字可能是编造的，不能作为证据。",
        "get_picture": "⤓ 图片",
        "get_mask": "⤓ 掩码",
        "get_zip": "⤓ 全部（ZIP）",
        "examples": "示例",
        "failure": "失败案例：只有四十个像素的人脸，结果是编造的",
        "more_examples": "更多示例：EXIF 旋转、透明、16 位",
        "programs": "供程序和智能体使用",
        "programs_api": "在 Python 中使用，先执行 `pip install gradio_client`：",
        "programs_mcp": "作为语言模型的工具（MCP）：",
        "programs_no_mcp": "作为语言模型的工具（MCP）：此服务器未启用，因为没有安装 gradio 的 `mcp` 扩展。"
        '运行者可以这样添加：`pip install "gradio[mcp]"`。',
        "bicubic": "放大的原图（双三次）",
        "seconds": "{n} 秒",
        "minutes": "{n} 分钟",
    },
}


def make_i18n(**values) -> "gr.I18n":
    """The sentences for Gradio, which picks by the browser's language; `values` fill in what is the same for everybody.

    What the server writes at run time goes through `text`.
    """
    import gradio as gr

    filled = {}
    for lang, texts in TEXTS.items():
        texts = {**texts, **{key: texts[key].format(**values) for key in ("limits", "welcome")}}
        filled[lang] = {PREFIX + key: sentence for key, sentence in texts.items()}
    return gr.I18n(**filled, **{"zh-CN": filled["zh"], "zh-TW": filled["zh"]})


def label(key: str) -> "I18nData":
    """A sentence for the page, which the browser puts into its own language."""
    from gradio.i18n import I18nData

    return I18nData(PREFIX + key)


def language(request: "gr.Request | None") -> str:
    """The language of a request, "en" or "zh", from the browser's first choice."""
    return of_header(request.headers) if request is not None and request.headers else "en"


def of_header(headers: Mapping[str, str]) -> str:
    """The language that a browser's headers ask for."""
    return "zh" if headers.get("accept-language", "").lower().startswith("zh") else "en"


def text(key: str, lang: str, **values) -> str:
    """One sentence with its values filled in."""
    return TEXTS[lang][key].format(**values)


def duration(seconds: float, lang: str) -> str:
    """A time as people say it: "0.4 s", "12 s", "3 min"."""
    if seconds < 90:
        return text("seconds", lang, n=f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}")
    return text("minutes", lang, n=round(seconds / 60))


def file_size(size: str) -> str:
    """ "40mb" as people write it: "40 MB"."""
    return f"{size[:-2].strip()} {size[-2:].upper()}"
