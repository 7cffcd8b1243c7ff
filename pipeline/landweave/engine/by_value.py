"""Functions and classes that a scheduler or worker without this package can load: their pickle carries their code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import cloudpickle


class ByValue:
    """A function or class of this package, pickled with its code and loaded as that function or class itself.

    What it uses of this package goes with it; what it uses of other packages has to be there.

    Parameters
    ----------
    thing
        Defined at the top of its module.
    """

    def __init__(self, thing: Callable[..., Any]) -> None:
        self._thing = thing
        self._pickled = b""

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Call it: a cluster in this process pickles nothing."""
        return self._thing(*args, **keywords)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[bytes]]:
        if not self._pickled:
            package = sys.modules["landweave"]
            cloudpickle.register_pickle_by_value(package)
            try:
                self._pickled = cloudpickle.dumps(self._thing)
            finally:
                cloudpickle.unregister_pickle_by_value(package)
        return cloudpickle.loads, (self._pickled,)
