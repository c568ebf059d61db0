"""The local socket: operations, frames, server."""
