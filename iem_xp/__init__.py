"""Unsupervised segmentation by inpainting error maximization (Savarese et al., CVPR 2021).

>>> import iem_xp
>>> result = iem_xp.segment(images)  # doctest: +SKIP
>>> result.masks  # bool (N, H, W)   # doctest: +SKIP
"""

from iem_xp import metrics
from iem_xp.arrays import DeviceError
from iem_xp.config import IEMConfig
from iem_xp.formulas import inpaint, inpainting_error, objective
from iem_xp.segmentation import Segmentation, segment

__all__ = [
    "DeviceError",
    "IEMConfig",
    "Segmentation",
    "inpaint",
    "inpainting_error",
    "metrics",
    "objective",
    "segment",
]
