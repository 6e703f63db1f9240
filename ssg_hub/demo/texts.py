"""Every sentence of the demo, in English and Chinese."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from .clip_texts import CLIP_TEXTS

if TYPE_CHECKING:  # only then: the cache's place is set before gradio is imported
    import gradio as gr
    from gradio.i18n import I18nData

PREFIX = "ssg_"  # Gradio has keys of its own

TEXTS = {
    "en": {
        # the page
        "tagline": "Sharpens blurred, noisy and small photographs, and shows where detail may be invented.",
        "choose": "Choose photographs",
        "choose_others": "Choose others",
        "choose_folder": "or a whole folder",
        "empty_folder": "There are no pictures in this folder.",
        "drop_here": "Drop to upscale",
        "limits": "Drop them anywhere on the page, or paste. Up to {most}: {formats}. "
        "Above {mp_in} megapixels or {file_size} they are reduced first. Deleted after {minutes} minutes.",
        "uploading": "Uploading…",
        "uploading_n": "Uploading {n} of {of}…",
        "n_pictures": "{n} photographs",
        "reduced": "{name} was too large for this page, so it was reduced to {w} × {h}.",
        "reduced_many": "{n} photographs were too large for this page, so they were reduced.",
        "file_too_large": "{name} is larger than what is taken here. Reduce it, or save it as JPEG, first.",
        "too_many": "At most {n} are accepted at once; the first {n} were added.",
        "outscale": "Size",
        "denoise": "Denoise",
        "denoise_info": "0 keeps the grain, 1 cleans",
        "strength": "Detail",
        "strength_info": "0 only enlarges, 1 adds most",
        "format": "Save as",
        "quality": "Quality",
        "run": "Upscale",
        "cancel": "Cancel",
        "advanced": "More settings",
        "model": "Model",
        "this_model": "ssg-hub",
        "fast": "Fast",
        "best": "Best quality",
        "model_info": "Best quality takes some 16 times as long",
        "denoise_none": "Best quality always cleans",
        "device": "Compute on",
        "second": "Compare with a second model",
        "second_info": "Both run; this takes longer",
        "second_none": "none",
        "segment": "Say what is in the picture",
        "segment_info": "Gives the mask and the map of what may be invented",
        "color_fix": "Keep the colours of the original",
        "color_fix_info": "Corrects a colour cast that a network may add",
        "tile_size": "Tile size",
        "tile_info": "Smaller needs less memory",
        "tile_auto": "automatic",
        "tile_none": "whole picture at once",
        "per_class": "Detail by class",
        "per_class_info": "After a first run, each class that was found in your picture can be set here.",
        "examples": "Try one of these",
        "more_examples": "Also:",
        "programs": "For programs and agents",
        "programs_api": "In Python, with `pip install gradio_client`:",
        "programs_mcp": "As a tool for language models, over MCP:",
        # the viewer
        "views": "Views of the picture",
        "compare": "Before / after",
        "side": "Side by side",
        "mask": "What is in it",
        "drift": "May be invented",
        "zoom": "Zoom",
        "zoom_in": "Larger",
        "zoom_out": "Smaller",
        "full_screen": "Full screen",
        "fit": "Fit",
        "opacity": "Opacity",
        "on_the_left": "On the left",
        "bicubic": "Before (bicubic)",
        "after": "After",
        "example_caption": "An example: this is what comes out",
        "uncertain": "uncertain",
        "same": "same meaning",
        "other": "another meaning",
        "mask_explained": "Each colour is a class, with its share of the picture. Point at a place to see its class "
        "and how probable it is.",
        "hatched": "Hatched: no class reaches {below} there, so none is named.",
        "tip": "{name} · {share}",
        "tip_unsure": "uncertain · perhaps {name}, {share}",
        "mostly_uncertain": "{share} of this picture was not recognised. Only these are known: {classes}.",
        "and_more": "{names} and {n} more",
        "drift_explained": "Bright: something else is recognised there than before upscaling, so the detail may be "
        "invented. Dark: the same is. This map cannot judge what was not learnt, such as letters and faces.",
        "chance_explained": "The brighter, the more probable that the place is recognised wrongly: what is drawn there "
        "may be invented. This map cannot judge what was not learnt, such as letters and faces.",
        "trusted": "{share} of this picture is trusted: on street pictures like those that this was tested on, at most "
        "{risk} of such a region is wrong on average.",
        "side_explained": "Point, or use the arrow keys: every panel shows the same place.",
        "honesty": "An upscaled picture is an estimate. Plates, faces and text may be invented. It is not evidence.",
        "get_picture": "Download picture",
        "get_mask": "Mask",
        "get_zip": "Everything (ZIP)",
        "zip_of_all": "All pictures (ZIP)",
        "facts": "{iw} × {ih} → {w} × {h} · {device}",
        "chosen": "ready",
        "working": "in progress",
        "done": "done",
        "failed_state": "failed",
        # a run
        "forecast": "{w} × {h} → {ow} × {oh}",
        "forecast_many": "{n} photographs",
        "forecast_refused": "{n} of them cannot be done",
        "about": "about {seconds}",
        "waiting": "Waiting: {n} before you",
        "waiting_next": "Waiting: you are next",
        "looking": "Reading…",
        "reading": "Reading the picture",
        "upscaling": "Upscaling",
        "upscaling_tile": "Upscaling, part {done} of {total}",
        "preparing": "Preparing the networks",
        "finishing": "Drawing mask and map",
        "writing": "Writing the files",
        "left_over": "about {seconds} left",
        "which": "Picture {n} of {of}",
        "finished": "Done in {seconds}",
        "finished_many": "{done} of {n} done in {seconds}",
        "cancelled": "Cancelled.",
        "seconds": "{n} s",
        "minutes": "{n} min",
        # refusals
        "bad_title": "This did not work",
        "too_large_in": "This picture has {mp} megapixels; at most {limit} are taken here. Reduce it first.",
        "too_large_for_best": "Best quality takes pictures of at most {limit} megapixels; this one has {mp}. "
        "Choose Fast, or reduce it first.",
        "clips_are_fast": "Clips are not made in best quality: it would take too long. Use the model {name}.",
        "too_large_out": "The result would have {mp} megapixels; at most {limit} are made here. "
        "Choose a smaller factor.",
        "no_picture": "This file is not a picture that can be read. Choose a PNG, JPEG, WebP or TIFF file.",
        "need_picture": "There is no picture yet. Choose one first.",
        "gone": "This file is no longer on the server. Choose it again.",
        "results_gone": "Not all of these results are still on the server. Upscale the pictures again.",
        "too_large_body": "This is larger than what is taken here. Reduce the picture, or save it as JPEG, first.",
        "no_room": "The server has no room for more pictures at the moment. Try again in a few minutes.",
        "too_slow": "This arrived too slowly, so the server stopped waiting. Try again, or send a smaller file.",
        "not_fetched": "No picture can be fetched from this address. Upload the file instead.",
        "failed": "Something went wrong on our side. Try again, or try a smaller picture.",
        "running": "A run is in progress. Wait for its end, or cancel it first.",
        "busy": "Too many pictures are waiting at the moment. Try again in a minute.",
        "unknown_model": "{name} is not a model that is offered here. Choose one of {names}.",
        "model_not_loaded": "The model {name} cannot be loaded at the moment. Choose another one.",
        "class_strength_form": 'class_strength is {value}; it needs a form like {{"car": 0.5}}.',
        "unknown_format": "format is {name}; choose one of {names}.",
        "quality_range": "quality is {value}; it needs a number from 1 to 100.",
    },
    "zh": {
        "tagline": "让模糊的照片变清晰，并标出哪些细节可能是编造的。",
        "choose": "选择照片",
        "choose_others": "选择其他照片",
        "choose_folder": "或选择整个文件夹",
        "empty_folder": "这个文件夹里没有图片。",
        "drop_here": "松开即可上传",
        "limits": "可拖到页面任意位置，或直接粘贴。最多 {most} 张，支持 {formats}。"
        "超过 {mp_in} 百万像素或 {file_size} 的会先缩小。{minutes} 分钟后删除。",
        "uploading": "正在上传…",
        "uploading_n": "正在上传第 {n} 张，共 {of} 张…",
        "n_pictures": "{n} 张照片",
        "reduced": "{name} 对本页面来说太大，已缩小为 {w} × {h}。",
        "reduced_many": "{n} 张照片对本页面来说太大，已先缩小。",
        "file_too_large": "{name} 超出了这里接受的大小。请先缩小图片，或另存为 JPEG。",
        "too_many": "一次最多 {n} 张，已取前 {n} 张。",
        "outscale": "放大倍数",
        "denoise": "降噪",
        "denoise_info": "0 保留颗粒，1 最干净",
        "strength": "细节",
        "strength_info": "0 只放大，1 细节最多",
        "format": "保存格式",
        "quality": "质量",
        "run": "放大",
        "cancel": "取消",
        "advanced": "更多设置",
        "model": "模型",
        "this_model": "ssg-hub",
        "fast": "快速",
        "best": "最佳质量",
        "model_info": "最佳质量用时约为 16 倍",
        "denoise_none": "最佳质量总是降噪",
        "device": "计算设备",
        "second": "与另一个模型比较",
        "second_info": "两个模型都会运行，需要更多时间",
        "second_none": "无",
        "segment": "识别画面内容",
        "segment_info": "给出掩码和“可能编造”区域图",
        "color_fix": "保持原图颜色",
        "color_fix_info": "修正网络可能带来的偏色",
        "tile_size": "分块大小",
        "tile_info": "越小越省内存",
        "tile_auto": "自动",
        "tile_none": "整张图一次完成",
        "per_class": "按类别设置细节",
        "per_class_info": "运行一次之后，图片中找到的每个类别都可以在这里设置。",
        "examples": "试试这些图片",
        "more_examples": "还有：",
        "programs": "供程序和智能体使用",
        "programs_api": "在 Python 中使用，先执行 `pip install gradio_client`：",
        "programs_mcp": "作为语言模型的工具（MCP）：",
        "views": "图片的各种视图",
        "compare": "前后对比",
        "side": "并排比较",
        "mask": "画面内容",
        "drift": "可能编造",
        "zoom": "缩放",
        "zoom_in": "放大显示",
        "zoom_out": "缩小显示",
        "full_screen": "全屏",
        "fit": "适应",
        "opacity": "不透明度",
        "on_the_left": "左侧显示",
        "bicubic": "放大前（双三次）",
        "after": "放大后",
        "example_caption": "示例：结果就是这样",
        "uncertain": "不确定",
        "same": "含义相同",
        "other": "含义不同",
        "mask_explained": "每种颜色代表一个类别，并标出它在画面中的占比。指向某处，可看到类别及其概率。",
        "hatched": "斜线区域：没有一个类别的概率达到 {below}，所以引导网络不下结论。",
        "tip": "{name} · {share}",
        "tip_unsure": "不确定 · 也许是{name}，{share}",
        "mostly_uncertain": "这张图片有 {share} 是引导网络认不出的内容。它只认识：{classes}。",
        "and_more": "{names}等，另有 {n} 类",
        "drift_explained": "明亮处：放大前后，引导网络看到的内容不同，细节可能是编造的。暗处：前后相同。"
        "它没学过的内容（例如文字和人脸）无法判断。",
        "chance_explained": "越亮，引导网络在该处判断错误的概率越高：那里画出的内容可能是编造的。"
        "它没学过的内容（例如文字和人脸）无法判断。",
        "trusted": "这张图片有 {share} 可以信任：对与校准图片相似的图片，这样的区域平均最多有 {risk} 是错的。",
        "side_explained": "移动指针或使用方向键：所有画面显示同一处。",
        "honesty": "放大的图片只是估计。车牌、人脸和文字可能是编造的，不能作为证据。",
        "get_picture": "下载图片",
        "get_mask": "掩码",
        "get_zip": "全部（ZIP）",
        "zip_of_all": "所有图片（ZIP）",
        "facts": "{iw} × {ih} → {w} × {h} · {device}",
        "chosen": "就绪",
        "working": "处理中",
        "done": "完成",
        "failed_state": "失败",
        "forecast": "{w} × {h} → {ow} × {oh}",
        "forecast_many": "{n} 张照片",
        "forecast_refused": "其中 {n} 张无法处理",
        "about": "约需 {seconds}",
        "waiting": "排队中：前面还有 {n} 张",
        "waiting_next": "排队中：下一个就是您",
        "looking": "正在读取…",
        "reading": "正在读取图片",
        "upscaling": "正在放大",
        "upscaling_tile": "正在放大：第 {done} 部分，共 {total} 部分",
        "preparing": "正在准备网络",
        "finishing": "正在绘制掩码和区域图",
        "writing": "正在写入文件",
        "left_over": "约剩 {seconds}",
        "which": "第 {n} 张，共 {of} 张",
        "finished": "完成，用时 {seconds}",
        "finished_many": "完成 {done} 张，共 {n} 张，用时 {seconds}",
        "cancelled": "已取消。",
        "seconds": "{n} 秒",
        "minutes": "{n} 分钟",
        "bad_title": "无法完成",
        "too_large_in": "这张图片有 {mp} 百万像素，这里最多接受 {limit} 百万像素。请先缩小图片。",
        "too_large_for_best": "最佳质量最多接受 {limit} 百万像素，这张图片有 {mp} 百万像素。"
        "请选择“快速”，或先缩小图片。",
        "clips_are_fast": "视频不支持最佳质量：耗时太长。请使用模型 {name}。",
        "too_large_out": "结果将有 {mp} 百万像素，这里最多生成 {limit} 百万像素。请选择较小的倍数。",
        "no_picture": "这个文件不是可读取的图片。请选择 PNG、JPEG、WebP 或 TIFF 文件。",
        "need_picture": "还没有图片，请先选择一张。",
        "gone": "服务器上已经没有这个文件。请重新选择。",
        "results_gone": "服务器上已经没有其中的某些结果。请重新放大图片。",
        "too_large_body": "超出了这里接受的大小。请先缩小图片，或另存为 JPEG。",
        "no_room": "服务器暂时没有空间存放更多图片。请几分钟后重试。",
        "too_slow": "上传太慢，服务器已停止等待。请重试，或上传较小的文件。",
        "not_fetched": "无法从这个地址获取图片。请改为上传文件。",
        "failed": "我们这边出了问题。请重试，或换一张较小的图片。",
        "running": "正在运行。请等它结束，或先取消。",
        "busy": "现在排队的图片太多。请一分钟后重试。",
        "unknown_model": "这里不提供模型 {name}。请从以下模型中选择：{names}。",
        "model_not_loaded": "模型 {name} 暂时无法加载。请选择其他模型。",
        "class_strength_form": 'class_strength 是 {value}；它需要类似 {{"car": 0.5}} 的格式。',
        "unknown_format": "format 是 {name}；请从以下格式中选择：{names}。",
        "quality_range": "quality 是 {value}；它需要 1 到 100 之间的数字。",
    },
}
for _lang, _sentences in CLIP_TEXTS.items():
    TEXTS[_lang] |= _sentences
# The pictures to try: what they show, and why that is hard.
CARDS = {
    "night.jpg": {"en": ("A street at night", "Little light, coarse noise"), "zh": ("夜晚的街道", "光线弱，噪点多")},
    "air.jpg": {"en": ("From the air", "Small, blurred, from far away"), "zh": ("航拍", "又远又小，细节模糊")},
    "archive.jpg": {
        "en": ("From an archive", "A gray scan: grain, dust, scratches"),
        "zh": ("档案扫描件", "黑白，有颗粒、灰尘和划痕"),
    },
    "coffee_turned.jpg": {
        "en": ("From a phone", "Noisy JPEG, turned by its EXIF"),
        "zh": ("手机照片", "有噪点的 JPEG，EXIF 旋转"),
    },
    "cat.jpg": {
        "en": ("A cat", "This guide knows only streets, and says so"),
        "zh": ("猫", "引导网络只认识街景，会直说"),
    },
    "face.jpg": {
        "en": ("Where it fails", "A face of forty pixels: the new face is invented"),
        "zh": ("失败案例", "四十像素的人脸，新的面容是编造的"),
    },
}
MORE_EXAMPLES = {
    "street_house.jpg": {"en": "a street", "zh": "街道"},
    "street_quay.jpg": {"en": "a quay", "zh": "码头"},
    "cup_transparent.png": {"en": "a cut-out: transparency stays", "zh": "抠图：透明度保留"},
    "cat_16bit.png": {"en": "16-bit gray: it stays", "zh": "16 位灰度：保持不变"},
}
# What the page's own scripts say; sentences with gaps that the server knows are filled in `page_texts`.
PICKER = (
    *("choose", "choose_others", "choose_folder", "empty_folder", "drop_here", "limits", "uploading", "uploading_n"),
    *("n_pictures", "reduced", "reduced_many", "file_too_large", "too_many", "failed"),
)
VIEWER = (
    *("views", "compare", "side", "mask", "drift", "zoom", "zoom_in", "zoom_out", "fit", "full_screen", "opacity"),
    *("on_the_left", "same", "other", "mask_explained", "drift_explained", "side_explained", "honesty", "tip"),
    *("tip_unsure", "get_picture", "get_mask", "get_zip", "zip_of_all", "chosen", "working", "done"),
)


def make_i18n() -> "gr.I18n":
    """The sentences for Gradio, which picks by the browser's language.

    What the server writes at run time goes through `text`.
    """
    import gradio as gr

    ours = {lang: {PREFIX + key: sentence for key, sentence in texts.items()} for lang, texts in TEXTS.items()}
    return gr.I18n(**ours, **{"zh-CN": ours["zh"], "zh-TW": ours["zh"]})


def page_texts(keys: tuple[str, ...], **values) -> dict[str, dict[str, str]]:
    """Sentences for the page's own scripts, by language; `values` fill the gaps of "limits", lists joined as there."""
    filled = {lang: {key: texts[key] for key in keys} for lang, texts in TEXTS.items()}
    for lang, texts in filled.items():
        if "limits" in texts:
            joined = {key: listed(value, lang) for key, value in values.items() if isinstance(value, list)}
            texts["limits"] = text("limits", lang, **values | joined)
        if "chosen" in texts:  # the states of a picture
            texts |= {"failed": TEXTS[lang]["failed_state"], "waiting": TEXTS[lang]["chosen"]}
            texts |= {"cancelled": TEXTS[lang]["cancelled"].rstrip(".。")}
    return filled


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


def listed(names: list[str], lang: str) -> str:
    """Names as a sentence holds them."""
    return ("、" if lang == "zh" else ", ").join(names)


def duration(seconds: float, lang: str) -> str:
    """A time as people say it: "0.4 s", "12 s", "3 min"."""
    if seconds < 90:
        return text("seconds", lang, n=f"{seconds:.1f}" if seconds < 3 else f"{seconds:.0f}")
    return text("minutes", lang, n=round(seconds / 60))


def sentences(parts: Iterable[str], lang: str) -> str:
    """Sentences one after the other; Chinese ones stand without a space, and empty ones are left out."""
    return ("" if lang == "zh" else " ").join(part for part in parts if part)


def file_size(size: str) -> str:
    """ "40mb" as people write it: "40 MB"."""
    return f"{size[:-2].strip()} {size[-2:].upper()}"
