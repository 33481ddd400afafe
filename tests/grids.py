"""A network of somebody's own, as a pandapower JSON file has it."""

from __future__ import annotations


def grid_json(buses: int = 5) -> str:
    """A street at 400 V: houses in a row, `house 0` the substation, 10 kW at each other one."""
    import pandapower

    net = pandapower.create_empty_network()
    for k in range(buses):
        pandapower.create_bus(net, vn_kv=0.4, name=f"house {k}")
        if k:
            pandapower.create_line_from_parameters(net, k - 1, k, 0.1, 0.3, 0.1, 0.0, 0.2)
            pandapower.create_load(net, k, p_mw=0.01, q_mvar=0.002)
    pandapower.create_ext_grid(net, 0)
    return pandapower.to_json(net)
