"""kwsd: a wake-word daemon for Linux boards."""

__version__ = "0.1.0"
