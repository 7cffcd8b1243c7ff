"""What an extra of the package brings, loaded where it is asked for."""

from __future__ import annotations

from types import ModuleType

from landweave.core.errors import ConfigError


def load_viewer() -> ModuleType:
    """The module `landweave.surface.view`.

    Raises
    ------
    ConfigError
        When the extra ``view`` is not installed.
    """
    try:
        from landweave.surface import view
    except ImportError as error:
        raise ConfigError(f"The viewer needs {error.name}: pip install 'landweave[view]'.") from error
    return view
