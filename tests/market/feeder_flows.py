"""A feeder's row in its README, and pandapower's flow where all that feeders leave out is zero."""

from __future__ import annotations

import warnings
from copy import deepcopy

import numpy as np

from market.feeder import Feeder, load
from market.feeder.powerflow import Flow, power_flow


def nominal_flow(feeder: Feeder) -> Flow:
    return power_flow(feeder, feeder.nominal_p_mw / feeder.base_mw, feeder.nominal_q_mvar / feeder.base_mw)


def row(name: str) -> str:
    """`| name | buses | load | losses | lowest voltage |` at nominal load, as the README has it."""
    feeder = load(name)
    flow = nominal_flow(feeder)
    p_kw, q_kvar = 1e3 * feeder.nominal_p_mw.sum(), 1e3 * feeder.nominal_q_mvar.sum()
    loss_kw, lowest = 1e3 * feeder.base_mw * flow.loss[0], np.sqrt(flow.v.min())
    return (
        f"| `{name}` | {feeder.buses} | {p_kw:.1f} | {q_kvar:.1f} | {loss_kw:.4g} | {lowest:.4f}"
        f" at {feeder.bus_names[int(flow.v.argmin())]} |"
    )


def bare_flow(net):
    """pandapower's flow without charging, magnetising, shunts, taps, generation and storages, balanced."""
    import pandapower

    net = deepcopy(net)
    net.line[["c_nf_per_km", "g_us_per_km"]] = 0.0
    net.trafo[["i0_percent", "pfe_kw"]] = 0.0
    net.trafo["tap_pos"] = net.trafo.tap_neutral
    for kind in ("sgen", "asymmetric_sgen", "shunt", "storage"):
        net[kind]["in_service"] = False
    for row in net.asymmetric_load.itertuples():
        pandapower.create_load(
            net,
            row.bus,
            p_mw=row.scaling * (row.p_a_mw + row.p_b_mw + row.p_c_mw),
            q_mvar=row.scaling * (row.q_a_mvar + row.q_b_mvar + row.q_c_mvar),
        )
    net.asymmetric_load["in_service"] = False
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "tap_dependency_table", DeprecationWarning
        )  # some shipped files' age
        pandapower.runpp(net, numba=False, tolerance_mva=1e-10, init="dc")
    return net


def assert_equal_flows(found, net) -> None:
    """Voltages, import and losses of an imported feeder against pandapower's."""
    reference = bare_flow(net)
    flow = nominal_flow(found.feeder)
    buses = list(found.position)
    own = (np.sqrt(flow.v[0]) * found.voltage)[[found.position[bus] for bus in buses]]
    # pandapower stops at 1e-10 MVA, which a long low-voltage line at its end turns into some 1e-10 pu
    np.testing.assert_allclose(own, reference.res_bus.vm_pu[buses], rtol=0, atol=1e-9)
    grids, loads = (reference[kind].index[reference[kind].bus.isin(buses)] for kind in ("ext_grid", "load"))
    lost = reference.res_ext_grid.p_mw[grids].sum() - reference.res_load.p_mw[loads].sum()
    np.testing.assert_allclose(flow.loss[0] * found.feeder.base_mw, lost, rtol=1e-6, atol=1e-9)
