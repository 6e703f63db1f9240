"""Where models live: the saved folder, the Hub, and the card."""
