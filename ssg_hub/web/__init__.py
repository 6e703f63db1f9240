"""The model as a static web site: it runs in the visitor's browser, and no picture leaves it."""
