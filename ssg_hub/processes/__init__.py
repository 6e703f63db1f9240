"""This package's processes: how several meet, what a forked one may do, what memory is given back, how each ends."""
