"""Commands for those who write the book: `python -m tools.sync`, `python -m tools.run`."""
