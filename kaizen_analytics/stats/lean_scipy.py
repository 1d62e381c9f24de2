"""Imports scipy.special without numpy's Fortran reader, test tools and other parts that nothing here uses.

scipy copies every public name of numpy, and numpy loads those parts when it is asked for their names: a fifth of a
second at each start. Import this module before scipy.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

if "scipy.special" not in sys.modules:
    numpy: Any = np
    public, listing = numpy.__all__, numpy.__dir__
    numpy.__all__ = [name for name in public if name in vars(numpy)]
    numpy.__dir__ = lambda: numpy.__all__
    try:
        from scipy import special  # noqa: F401
    finally:
        numpy.__all__, numpy.__dir__ = public, listing
