"""Commands for those who write the book, `python -m tools.sync` and `tools.run`, or teach, `tools.course`."""
