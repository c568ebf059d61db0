"""Sockets, timers and files under the pure transport cores."""
