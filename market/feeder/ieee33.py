"""The IEEE 33-bus feeder: 12.66 kV, 32 lines, 3.715 MW and 2.300 Mvar of load.

Numbers transcribed from M. E. Baran and F. F. Wu, "Network reconfiguration in distribution systems
for loss reduction and load balancing", IEEE Transactions on Power Delivery 4(2):1401–1407, 1989.
The five tie lines are open and left out, so the feeder is radial. Published figures at nominal
load: 202.7 kW of losses, lowest voltage 0.9131 pu at bus 18.

The paper gives no ratings. Ours, used only on request: 400 A on the trunk (buses 2 to 6), 200 A on
every other line; the feeder draws 210 A at nominal load.
"""

from __future__ import annotations

import numpy as np

from market.feeder.model import Feeder, Limits

NOMINAL_KV = 12.66
TRUNK_RATING_A = 400.0
BRANCH_RATING_A = 200.0
LAST_TRUNK_BUS = 6

# from bus, to bus, r ohm, x ohm, load of the to-bus in kW and kvar (buses numbered as in the paper)
LINES = (
    (1, 2, 0.0922, 0.0470, 100, 60),
    (2, 3, 0.4930, 0.2511, 90, 40),
    (3, 4, 0.3660, 0.1864, 120, 80),
    (4, 5, 0.3811, 0.1941, 60, 30),
    (5, 6, 0.8190, 0.7070, 60, 20),
    (6, 7, 0.1872, 0.6188, 200, 100),
    (7, 8, 0.7114, 0.2351, 200, 100),
    (8, 9, 1.0300, 0.7400, 60, 20),
    (9, 10, 1.0440, 0.7400, 60, 20),
    (10, 11, 0.1966, 0.0650, 45, 30),
    (11, 12, 0.3744, 0.1238, 60, 35),
    (12, 13, 1.4680, 1.1550, 60, 35),
    (13, 14, 0.5416, 0.7129, 120, 80),
    (14, 15, 0.5910, 0.5260, 60, 10),
    (15, 16, 0.7463, 0.5450, 60, 20),
    (16, 17, 1.2890, 1.7210, 60, 20),
    (17, 18, 0.7320, 0.5740, 90, 40),
    (2, 19, 0.1640, 0.1565, 90, 40),
    (19, 20, 1.5042, 1.3554, 90, 40),
    (20, 21, 0.4095, 0.4784, 90, 40),
    (21, 22, 0.7089, 0.9373, 90, 40),
    (3, 23, 0.4512, 0.3083, 90, 50),
    (23, 24, 0.8980, 0.7091, 420, 200),
    (24, 25, 0.8960, 0.7011, 420, 200),
    (6, 26, 0.2030, 0.1034, 60, 25),
    (26, 27, 0.2842, 0.1447, 60, 25),
    (27, 28, 1.0590, 0.9337, 60, 20),
    (28, 29, 0.8042, 0.7006, 120, 70),
    (29, 30, 0.5075, 0.2585, 200, 600),
    (30, 31, 0.9744, 0.9630, 150, 70),
    (31, 32, 0.3105, 0.3619, 210, 100),
    (32, 33, 0.3410, 0.5302, 60, 40),
)


def ieee33(v_min: float = 0.90, v_max: float = 1.10, *, rated: bool = False) -> Feeder:
    """The feeder on a base of its own peak load, 3.715 MW, with 1.0 pu at the substation.

    `v_min` and `v_max` hold at every bus, in pu; `rated` applies our ratings, else lines have none.
    """
    start, end, r_ohm, x_ohm, load_kw, load_kvar = np.array(((0, 1, 0.0, 0.0, 0, 0), *LINES)).T
    base_mw = float(load_kw.sum() / 1e3)
    base_ohm = NOMINAL_KV**2 / base_mw
    base_a = base_mw / (np.sqrt(3.0) * NOMINAL_KV) * 1e3
    if rated:
        i_max = np.where(end <= LAST_TRUNK_BUS, TRUNK_RATING_A, BRANCH_RATING_A) / base_a
    else:
        i_max = np.full(len(end), np.inf)
    i_max[0] = 0.0  # there is no line into the substation
    return Feeder(
        name="ieee33",
        bus_names=tuple(str(int(bus)) for bus in end),
        parent=start.astype(np.int64) - 1,
        r_pu=r_ohm / base_ohm,
        x_pu=x_ohm / base_ohm,
        limits=Limits(v_min=np.full(len(end), v_min), v_max=np.full(len(end), v_max), i_max=i_max),
        base_mw=base_mw,
        v0=1.0,
        nominal_p_mw=load_kw / 1e3,
        nominal_q_mvar=load_kvar / 1e3,
    )
