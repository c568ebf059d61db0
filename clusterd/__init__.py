"""The daemon, its sockets and its commands."""
