"""Where notes and progress are written: what cannot be written there is lost, and the run goes on."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import IO, Any, cast

from rich.console import Console


class _Lossy:
    """The error stream as it is at each moment; a terminal that was closed, or a full disk, is no error."""

    def write(self, text: str) -> None:
        with suppress(OSError, AttributeError):  # there may be none
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, AttributeError):
            self._stream.flush()

    @property
    def rich_proxied_file(self) -> Any:
        """What rich writes to while a bar is shown: this, and not the stream behind it."""
        return self

    @property
    def _stream(self) -> Any:
        return getattr(sys.stderr, "rich_proxied_file", sys.stderr)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def error_console() -> Console:
    """A console on the error stream."""
    return Console(file=cast("IO[str]", _Lossy()), stderr=True)
