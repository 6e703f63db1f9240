"""What the library says, in Chinese as far as that is known: names of classes, notes and errors."""

import re
from collections.abc import Mapping

# The classes of street scenes; what is not here keeps its own name.
CLASSES_ZH = dict(
    pair.split(":")
    for line in (
        "sky:天空 building:建筑 pole:杆 road:道路 sidewalk:人行道 tree:树木 sign:标志 fence:围栏 wall:墙",
        "pedestrian:行人 person:人 bicyclist:骑车人 rider:骑车人 bicycle:自行车 motorcycle:摩托车",
        "car:汽车 truck:卡车 bus:公共汽车 train:火车 vegetation:植被 terrain:地面",
    )
    for pair in line.split()
)

# The commonest of the library's notes on a picture, as patterns; what is not here stays English, as in the report.
NOTES_ZH = {
    r"The file holds .* or pages; number (\d+) was used\.": r"文件有多帧或多页，只使用了第 \1 个。",
    r"(\w+) holds 8 bits a channel: .*": r"\1 每个通道只有 8 位，16 位的数值已舍入。PNG 可以保留。",
    r"JPEG holds no transparency: .*": r"JPEG 不支持透明，图片已放在白色背景上。",
    r"(\w+) has no place for texts; left out: (.*)\. .*": r"\1 无法保存文字信息，已略去：\2。PNG 可以保留。",
    r"CMYK was converted to RGB\.": r"CMYK 已转换为 RGB。",
    r"The model has no guide, .*": r"这个模型没有引导网络，所以没有掩码，也不标出可能编造的区域。",
    r"Memory ran out (\d+) .*": r"内存不足 \1 次，相应的部分已拆小重做。",
}
# And of its errors.
ERRORS_ZH = {
    r"(.+) is damaged or cut short .*": r"\1 已损坏或不完整。请重新复制或下载。",
    r"(.+) is not a picture that can be read .*": r"\1 不是可读取的图片。请选择 PNG、JPEG、WebP 或 TIFF 文件。",
    r"(.+) does not fit into memory\. .*": r"\1 太大，内存放不下。请使用较小的图片。",
    r"(.+) takes too much time or memory .* PNG or JPEG, .*": r"读取 \1 太费时间或内存。请另存为 PNG 或 JPEG，或缩小。",
    r"(.+) takes too much time or memory .* H\.264, .*": r"读取 \1 太费时间或内存。请另存为 H.264 MP4，或缩小。",
    r"(\d+)x(\d+) is too large for (\w+), .*": r"\1 × \2 对 \3 格式来说太大。请另存为 PNG。",
    r"(.+) is not a clip that is read here\. .*": r"\1 不是可读取的视频。请选择 MP4、MOV、WebM、MKV、AVI 或 TS。",
    r"(.+) cannot be read as a video .*": r"\1 无法作为视频读取。如果录制曾中断，请先修复；否则请选择其他文件。",
    r"(.+) holds no video .*": r"\1 中没有可以解码的视频。请选择其他文件。",
}


def class_name(name: str, lang: str) -> str:
    """A class of the guide in a visitor's language, where that is known."""
    return CLASSES_ZH.get(name, name) if lang == "zh" else name


def note(sentence: str, lang: str) -> str:
    """A note of the library in a visitor's language, where that is known."""
    return _translate(sentence, NOTES_ZH) if lang == "zh" else sentence


def failure(sentence: str, lang: str) -> str:
    """An error of the library in a visitor's language, where that is known."""
    return _translate(sentence, ERRORS_ZH) if lang == "zh" else sentence


def _translate(sentence: str, patterns: Mapping[str, str]) -> str:
    """What the first fitting pattern stands for; a sentence that fits none stays as it is."""
    matches = ((re.fullmatch(pattern, sentence, re.DOTALL), chinese) for pattern, chinese in patterns.items())
    return next((match.expand(chinese) for match, chinese in matches if match), sentence)
