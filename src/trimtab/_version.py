"""The version, in one place: the wheel, `trimtab --version` and the HTTP headers read it."""

__version__ = "0.1.0"
