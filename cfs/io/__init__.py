"""Disk under the pure store cores: the log, the database, the worker thread."""
