"""Where models live: the saved folder, the Hub, and the card."""

EMBEDDED = "embedded"  # the name of the checkpoint inside the package, wherever a model is named
