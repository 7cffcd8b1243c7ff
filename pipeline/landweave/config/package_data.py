"""Where the configurations and cards lie that come with the package."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def configs_folder() -> Path:
    """``configs/`` of a checkout, or the copy inside an installed package."""
    checkout = _PACKAGE.parents[1] / "configs"
    return checkout if checkout.is_dir() else _PACKAGE / "configs"
