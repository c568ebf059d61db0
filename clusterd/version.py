"""The version of clusterd, the daemon and its tools alike; pyproject.toml says the same (a test compares them)."""

VERSION = "0.1.0"
