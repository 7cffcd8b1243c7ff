"""``landweave worker``: a worker of a Dask cluster, started as this work needs it."""

from __future__ import annotations

from typing import Annotated

import typer


def worker(
    context: typer.Context,
    address: Annotated[str, typer.Argument(help="Of the scheduler: tcp://host:8786.", show_default=False)],
    memory_limit: Annotated[str | None, typer.Option(help="Such as 16GiB; a share of the machine by default.")] = None,
    torch_threads: Annotated[int, typer.Option(help="As model.torch_threads.")] = 2,
    ca: Annotated[str | None, typer.Option("--tls-ca-file", help="Certificate of the authority.")] = None,
    cert: Annotated[str | None, typer.Option("--tls-cert", help="Certificate of this worker.")] = None,
    key: Annotated[str | None, typer.Option("--tls-key", help="Its private key.")] = None,
) -> None:
    """Start a worker of a scheduler; further options are those of `dask worker` (--name, --lifetime, --resources)."""
    from landweave.engine.worker_process import become_worker  # Dask takes a second to import

    security = {name: path for name, path in {"ca": ca, "cert": cert, "key": key}.items() if path}
    become_worker(
        address, memory_limit=memory_limit, torch_threads=torch_threads, security=security, options=context.args
    )
