"""Colours that a file gives as code points of ITU-T H.273 (AVIF, PNG), as far as a note has to tell of them."""

PRIMARIES = {1: "", 2: "", 9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}  # BT.709's, as sRGB has them; not said
# Those for ordinary screens, which cameras and programs do not tell apart; not said; those that sRGB is far from.
TRANSFERS = {1: "", 2: "", 6: "", 13: "", 14: "", 15: "", 8: "linear", 16: "PQ (HDR)", 18: "HLG (HDR)"}


def name_colors(primaries: int, transfer: int) -> str:
    """What is not as in sRGB, in words; empty where nothing is.

    >>> name_colors(9, 16), name_colors(12, 13), name_colors(1, 13)
    ('BT.2020, PQ (HDR)', 'Display P3', '')
    """
    named = PRIMARIES.get(primaries, f"primaries {primaries}"), TRANSFERS.get(transfer, f"transfer {transfer}")
    return ", ".join(filter(None, named))


def explain_colors(name: str) -> str:
    """The note about colours that are not sRGB, and that no profile describes."""
    return f"The colours are not sRGB ({name}); without a profile, the values were taken as sRGB."
