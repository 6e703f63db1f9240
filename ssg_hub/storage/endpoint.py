"""Whether HF_ENDPOINT is an address at all; without huggingface_hub, whose import fails with some that are none."""

from urllib.parse import urlsplit

PORTS = {"https": 443, "http": 80}


def explain_endpoint(address: str) -> str | None:
    """The sentence for an address of the Hub at which nothing can be asked; None for one that can."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in PORTS and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number up to 65535, or half an IPv6 address
        usable = False
    if usable:
        return None
    return (
        f"HF_ENDPOINT is {address!r}, which is no address of a Hub. Set it to one that begins with https://, such as "
        "https://huggingface.co, or unset it."
    )
