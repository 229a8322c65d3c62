"""Commands for those who write the book, `python -m tools.sync` and `tools.run`, and who teach, `tools.course`."""
