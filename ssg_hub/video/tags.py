"""The tags of a clip: which of them are kept, and how MP4 and QuickTime hold them."""

import io
from fractions import Fraction

import av

STALE = (
    *("encoder", "duration", "rotate", "vendor_id", "bps", "number_of_", "_statistics", "source_id", "major_brand"),
    *("minor_version", "compatible_brands", "creation_time_", "handler_vendor"),
)
ANY_TAG = "use_metadata_tags"  # FFmpeg's flag for the list of QuickTime, which has a place for every key

TIME_CODE = "timecode"  # becomes a track


def kept_tags(metadata: dict[str, str]) -> dict[str, str]:
    """Metadata without what describes the former file rather than the recording."""
    return {key: value for key, value in metadata.items() if not key.lower().startswith(STALE)}


def place_tags(metadata: dict[str, str], muxer: str, covered: bool) -> tuple[str, list[str]]:
    """Where an MP4 or QuickTime file keeps the tags of a clip; found by trying.

    It has one of two lists: its own, for the usual keys only, or QuickTime's, for all keys but no cover picture.

    Args:
        metadata: of the clip.
        muxer: "mp4" or "mov"; all tags have a place in other containers, or none.
        covered: whether the file gets a cover picture.

    Returns:
        (the flag that the muxer needs, or ""; the keys that find no place).
    """
    tags = {key: value for key, value in kept_tags(metadata).items() if value and key.lower() != TIME_CODE}
    if muxer not in ("mp4", "mov"):
        return "", []
    held = {key.lower() for key in _try_tags(tags, muxer)}
    lost = sorted(key for key in tags if key.lower() not in held)
    return (ANY_TAG, []) if lost and not covered else ("", lost)


def _try_tags(tags: dict[str, str], muxer: str) -> dict[str, str]:
    """What comes back of tags that the container's own list is given."""
    file = io.BytesIO()
    with av.open(file, "w", format=muxer) as trial:
        carrier = trial.add_mux_stream("h264", width=64, height=64)
        carrier.time_base = Fraction(1, 25)
        trial.metadata.update(tags)
        trial.start_encoding()
    file.seek(0)
    with av.open(file, metadata_errors="replace") as read:
        return dict(read.metadata)
