"""GIF (89a): its first frame alone, its comments, and how many frames it has."""

from .metadata import Found, decode_text

MOST_FRAMES = 1000  # that are counted
EXTENSION, IMAGE, END = 0x21, 0x2C, 0x3B
CONTROL, COMMENT = 0xF9, 0xFE


def take_apart(data: bytes) -> tuple[bytes, Found]:
    """Split a file into its first frame, as a smaller GIF, and what it says of itself."""
    found = Found(frames=0)
    place = 13 + _table_size(data, 10)
    kept, control, comments = [data[:place]], b"", []
    while place + 1 < len(data) and data[place] != END:
        start = place
        if data[place] == EXTENSION:
            place = _skip_blocks(data, start + 2)
            if data[start + 1] == CONTROL and not found.frames:
                control = data[start:place]
            elif data[start + 1] == COMMENT:
                comments.append(_join_blocks(data, start + 2))
        elif data[place] == IMAGE:
            place = _skip_blocks(data, start + 11 + _table_size(data, start + 9))
            if not found.frames:
                kept += [control, data[start:place]]
            found.frames += 1
        else:
            break
        if found.frames == MOST_FRAMES:
            found.more = True
            break
    if comments:
        found.add_text("Comment", decode_text(b"\n".join(comments)))
    return b"".join((*kept, b"\x3b" if place <= len(data) else b"")), found


def _table_size(data: bytes, place: int) -> int:
    """Bytes of the colour table that the flags at `place` announce."""
    flags = data[place] if place < len(data) else 0
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(data: bytes, place: int) -> int:
    """The place behind a run of sub-blocks; beyond the end of the file where it is cut short."""
    while place < len(data) and data[place]:
        place += 1 + data[place]
    return place + 1


def _join_blocks(data: bytes, place: int) -> bytes:
    """What a run of sub-blocks holds."""
    blocks = []
    while place < len(data) and data[place]:
        blocks.append(data[place + 1 : place + 1 + data[place]])
        place += 1 + data[place]
    return b"".join(blocks)
