"""Where the site lies that the browser tests look at."""

from vaebook import book

SITE = book.ROOT / "_build" / "html"


def pages(pattern: str = "**/*.html") -> list[str]:
    """The pages of the site, as paths from its root."""
    found = (path.relative_to(SITE).as_posix() for path in SITE.glob(pattern))
    return sorted(name for name in found if not name.startswith("_"))
