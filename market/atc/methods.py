"""Every way of coordination, by the name that `--method` and `--penalty` know it by."""

from __future__ import annotations

from market.atc.alternating import ACCELERATED, ADMM, AL_AD
from market.atc.benders import BENDERS
from market.atc.finished import ATC
from market.atc.lagrangian import LAGRANGIAN
from market.atc.levels import FOUR_LEVELS, THREE_LEVELS
from market.atc.nested import AUGMENTED, EXPONENTIAL, QUADRATIC
from market.atc.parallel import APP, TDQA
from market.atc.rounds import Method
from market.atc.second_order import SECOND_ORDER

PENALTIES: dict[str, Method] = {
    method.name: method
    for method in (QUADRATIC, LAGRANGIAN, AUGMENTED, AL_AD, ACCELERATED, TDQA, EXPONENTIAL, SECOND_ORDER)
}
"""ATC's penalty functions, and the answers with slopes that need none."""
COMPARATORS: dict[str, Method] = {method.name: method for method in (ADMM, APP, BENDERS)}
"""Other decompositions, on the same problem and the same stopping rule."""
DEEPER: dict[str, Method] = {method.name: method for method in (THREE_LEVELS, FOUR_LEVELS)}
"""More levels than two."""
METHODS: dict[str, Method] = {ATC.name: ATC, **PENALTIES, **DEEPER, **COMPARATORS}
