"""Weights that lie in an object store: fetched once to this machine, which sends them to workers that lack them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from landweave.config.schema import Config
from landweave.core.errors import WeightsError
from landweave.core.received import find_file, received_path
from landweave.core.whole_files import write_whole
from landweave.store.objects import Target


def local_weights(config: Config) -> str | None:
    """File of the configuration's weights on this machine; None where it names none.

    Of a URL it is kept among the temporary files; with ``model.sha256`` it is fetched only where it is not there yet.

    Raises
    ------
    WeightsError
        When there is no such object.
    """
    if config.model.weights is None:
        return None
    named = config.path(config.model.weights)
    if "://" not in named:
        return named
    folder, _, name = named.rpartition("/")
    if config.model.sha256 and (found := find_file(Path("/") / name, config.model.sha256)):
        return str(found)
    content = Target.parse(folder).get(name)
    if content is None:
        raise WeightsError(f"model.weights: there is no {named}.")
    kept = received_path(Path(name), hashlib.sha256(content).hexdigest())
    try:
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(kept.parent, {kept.name: content})
    except OSError as error:
        raise WeightsError(
            f"model.weights: {named} cannot be kept at {kept}: {error.strerror}. Set TMPDIR to a place with more room."
        ) from error
    return str(kept)
