"""understudy: a deterministic stand-in for HTTP services that run asynchronous jobs."""

__version__ = "0.1.0"
