"""Measures clusterd: the same processes and sockets as in production, on this machine. See `python -m bench --help`."""
