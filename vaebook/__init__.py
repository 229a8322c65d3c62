"""The shared package of the vaebook textbook: small enough to read, tested enough to trust."""

__version__ = "0.1.0"
