"""What LeRobot's reader of datasets needs of torchvision, where torchvision does not fit the installed torch."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class ToTensor:
    """Turns an image into numbers from 0 to 1, channels first."""

    def __call__(self, image: Any) -> Any:
        import numpy as np
        import torch

        pixels = np.array(image)
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def install() -> None:
    """Put the stand-in in torchvision's place, unless that one is there."""
    if importlib.util.find_spec("torchvision") is not None:
        return
    modules = {
        name: ModuleType(name)
        for name in (
            "torchvision",
            "torchvision.io",
            "torchvision.transforms",
            "torchvision.transforms.v2",
            "torchvision.transforms.v2.functional",
        )
    }
    modules["torchvision.transforms"].ToTensor = ToTensor
    for name in ("Transform", "Compose", "RandomAffine"):
        setattr(modules["torchvision.transforms.v2"], name, type(name, (), {}))
    for name, module in modules.items():
        module.__spec__ = ModuleSpec(name, None)
        outer, _, inner = name.rpartition(".")
        if outer:
            setattr(modules[outer], inner, module)
        sys.modules[name] = module
