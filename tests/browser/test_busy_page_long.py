"""The market's page in Chromium with 1 000 resting orders and 50 events a second: how smooth it stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from node.bench.pages import ACCOUNTS, ORDERS_A_STEP, RESTING, STEP_SECONDS
from node.bench.started import pause, started_testnet
from node.bench.timing import now_seconds
from node.bench.traffic import Traffic
from tests.browser.conftest import Tab

pytestmark = [pytest.mark.long, pytest.mark.needs("chromium", "playwright")]
STEPS = 150
FRAMES = """
window.frames_ms = [];
let before = performance.now();
requestAnimationFrame(function frame(now) {
  window.frames_ms.push(now - before);
  before = now;
  requestAnimationFrame(frame);
});
document.addEventListener("renewed", () => (window.renewals = (window.renewals ?? 0) + 1));
"""


def test_page_follows_a_busy_market(chromium: Any, record_property: Callable[[str, object], None]):
    with started_testnet(ACCOUNTS) as (_, document):
        traffic = Traffic(document)
        traffic.rest(RESTING)
        context = chromium.new_context(base_url=document["api_url"])
        tab = Tab(context)
        tab.page.goto(f"/?slot={traffic.slot}")
        tab.sees("#status", "live")
        tab.page.evaluate(FRAMES)
        begun, block = now_seconds(), 0
        for number in range(STEPS):
            pause(max(0.0, begun + number * STEP_SECONDS - now_seconds()))
            block, _ = traffic.step(ORDERS_A_STEP)
        tab.page.wait_for_function(
            "block => Number(document.getElementById('status').dataset.event.split(':')[0]) >= block",
            arg=block,
        )
        tab.sees("#facts", f"fills: {STEPS * ORDERS_A_STEP}, orders:")
        frames_ms, renewals = tab.page.evaluate("[window.frames_ms, window.renewals]")
        context.close()
    assert tab.wrong == []
    assert renewals > 1
    record_property("renewals", renewals)
    for name, share in (("median frame", 50), ("99 of 100 frames", 99), ("longest frame", 100)):
        record_property(f"{name} ms", round(float(np.percentile(frames_ms, share)), 1))
