"""Windows of a model: the default size and overlap, and the sizes that its weights fit."""

from __future__ import annotations

from pydantic import Field

from landweave.core.blending import Blend
from landweave.core.errors import CardError
from landweave.models.cards.inputs import CardPart


class WindowRule(CardPart):
    """Windows in base pixels.

    Attributes
    ----------
    size, overlap, blend
        Defaults of a run.
    trained
        Sizes used in training; ``size`` alone when not given.
    min_untrained_size
        Smallest other size that the weights fit; none when not given.
    multiple
        Every size is a multiple of it (the network's total stride).
    """

    size: int = Field(gt=0)
    overlap: int = Field(ge=0)
    blend: Blend = Blend.COSINE
    trained: tuple[int, ...] = ()
    min_untrained_size: int | None = None
    multiple: int = Field(default=1, gt=0)

    @property
    def trained_sizes(self) -> tuple[int, ...]:
        """Sizes used in training."""
        return self.trained or (self.size,)

    def check(self, window: int) -> None:
        """Refuse a window that the network cannot take.

        Raises
        ------
        CardError
            When it is not a multiple of the network's stride, or neither trained nor allowed otherwise.
        """
        if window <= 0 or window % self.multiple:
            raise CardError(f"A window of {window} px is not a multiple of {self.multiple}, as this network needs.")
        if window in self.trained_sizes or (self.min_untrained_size is not None and window >= self.min_untrained_size):
            return
        known = ", ".join(str(size) for size in self.trained_sizes)
        others = f", or {self.min_untrained_size} and more" if self.min_untrained_size is not None else ""
        raise CardError(f"A window of {window} px was asked for; the weights fit windows of {known}{others}.")
