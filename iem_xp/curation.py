"""Which masks become labels, and what is made of them before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scipy import ndimage

from iem_xp.boxes import largest_part
from iem_xp.images import Mask
from iem_xp.runs.selection import Selection


@dataclass(frozen=True)
class Curation:
    """What is made of the masks before they are labels, and which are left out; by default nothing, none.

    Parameters
    ----------
    min_share, max_share : float
        Bounds of the foreground's share of the label, after what follows, in [0, 1].
    largest_component : bool
        Whether only the largest connected part is kept, neighbours touching by sides.
    fill_holes : bool
        Whether background that does not reach the border becomes foreground.
    selection : Selection
        Which images may be labels at all.

    Raises
    ------
    ValueError
        If the bounds are not as above.
    """

    min_share: float = 0.0
    max_share: float = 1.0
    largest_component: bool = False
    fill_holes: bool = False
    selection: Selection = field(default_factory=Selection)

    def __post_init__(self) -> None:
        if not 0 <= self.min_share <= self.max_share <= 1:
            raise ValueError(
                "min_share and max_share must be bounds within 0 and 1, "
                f"not {self.min_share} and {self.max_share}"
            )

    def clean(self, mask: Mask) -> Mask:
        """Make a label, bool (S, S), of a mask of this size."""
        if self.largest_component:
            mask = largest_part(mask)
        return ndimage.binary_fill_holes(mask) if self.fill_holes else mask

    def as_dict(self) -> dict[str, Any]:
        """All choices by name, as JSON values; lists of images by their digests."""
        switches = {"largest_component": self.largest_component, "fill_holes": self.fill_holes}
        bounds = {"min_share": self.min_share, "max_share": self.max_share}
        return {**bounds, **switches, **self.selection.as_dict()}

    def objection(self, share: float) -> str | None:
        """Why a label of this share of foreground is left out, None if it is not."""
        if share < self.min_share:
            return f"foreground share below {self.min_share:g}"
        return f"foreground share above {self.max_share:g}" if share > self.max_share else None
