# pragma version 0.4.3
"""
@title Rules
@license Apache-2.0
@notice Refusal by the name of the rule that is broken, "module: rule". In one place, since the code for a
        reason takes more room than the reason.
"""


# ---- internal functions ----------------------------------------------------------------------------


@internal
@pure
def _require(holds: bool, rule: String[40]):
    """
    @notice Reverts by the name of a rule unless it holds.
    """
    assert holds, rule
