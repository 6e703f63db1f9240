"""How fast and how large: engines and peers on the same weights, the command, memory, cost. See `__main__`."""
