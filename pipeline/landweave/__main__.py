"""Where the command begins: loading what it works with takes seconds, and Ctrl-C is heard from the first of them."""

from __future__ import annotations

import sys

from landweave.core.errors import INTERRUPTED


def main() -> None:
    """The command; see `landweave.cli.main`."""
    try:
        from landweave.cli.main import main as command  # here, inside: worker processes load this file and no more

        command()
    except KeyboardInterrupt:
        sys.stderr.write("landweave: interrupted.\n")
        raise SystemExit(INTERRUPTED) from None


if __name__ == "__main__":
    main()
