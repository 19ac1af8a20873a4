"""What a user is told when the book cannot be built."""

from collections.abc import Collection

import click


class BookError(click.ClickException):
    """The book cannot be built; the message says what was wrong and where."""


def require(kind: str, name: str, accepted: Collection[str]) -> None:
    """Raise BookError, with the accepted names, unless `name` is among them."""
    if name not in accepted:
        raise BookError(f"Unknown {kind} {name!r}: use one of {', '.join(accepted)}.")
