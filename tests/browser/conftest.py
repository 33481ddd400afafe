"""A testnet with its pages, and Debian's Chromium to look at them with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from eth_account import Account

from node.testnet.running import Running, running
from node.testnet.settings import Settings
from tests.programs import find

PATIENCE_MS = 30_000
"""Far more than anything here takes."""
WALLET = """
let connected = false;
window.ethereum = {
  request: async ({ method, params }) => {
    if (method === "eth_requestAccounts") { connected = true; return [%(address)s]; }
    if (method === "eth_chainId") return %(chain)s;
    if (method === "eth_signTypedData_v4") {
      const isOwn = params[0].toLowerCase() === %(address)s.toLowerCase();
      if (!connected || !isOwn) throw Object.assign(new Error("not authorized by the user"), { code: 4100 });
      return window.signTyped(params[1]);
    }
    throw Object.assign(new Error(method), { code: -32601 });
  },
};
"""
"""A wallet (EIP-1193) of an address on a chain, which signs for pages that asked for the account."""


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    return []


@pytest.fixture(scope="module")
def net(complaints: list[str]) -> Iterator[Running]:
    with running(Settings(port=0, api_port=0), lambda line: None, complaints.append) as started:
        yield started
    assert complaints == [], "whatever visitors do, the testnet has nothing to complain of"


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(find("chromium")), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


def pages(net: Running) -> list[str]:
    """Every page but a bill, the last of which is none."""
    account = net.document["accounts"][0]["address"]
    return [
        "/",
        "/slots",
        "/account",
        f"/account?address={account}",
        "/settlements",
        "/audit",
        "/docs",
        "/nothing",
    ]


def open_slot(net: Running) -> int:
    """The last one: nothing of a test's outlives its gate."""
    slots = httpx.get(net.document["api_url"] + "/v1/slots?state=open").json()["items"]
    return max(slot["slot"] for slot in slots)


def rpc(net: Running, method: str, *params: Any) -> Any:
    """What the node answers to a method."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return httpx.post(net.document["rpc_url"], json=body).json()["result"]


def move_to(net: Running, second: int) -> None:
    """Let the chain's time go on there, as anybody may on a testnet."""
    rpc(net, "evm_setNextBlockTimestamp", second)
    rpc(net, "evm_mine")


class Tab:
    """A page, and what it complained of."""

    def __init__(self, context: Any) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.wrong: list[str] = []
        self.forgiven: tuple[str, ...] = ()
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", self._hear)

    def _hear(self, message: Any) -> None:
        if message.type == "error":
            self.wrong.append(message.text)

    def sees(self, selector: str, text: str) -> None:
        """Wait until an element says so."""
        self.page.locator(selector).filter(has_text=text).first.wait_for()

    def has_no_violations(self) -> None:
        """Let axe look at the page, which must not be wider than the screen either."""
        axe = find("axe-core")
        assert axe is not None
        self.page.evaluate((axe.parent / "axe.min.js").read_text("utf-8"))
        found = self.page.evaluate("axe.run()")["violations"]
        told = [(each["id"], [node["html"][:120] for node in each["nodes"]]) for each in found]
        assert told == [], self.page.url
        width = self.page.evaluate("document.documentElement.scrollWidth")
        assert width <= self.page.viewport_size["width"], self.page.url


def give_wallet(net: Running, tab: Tab, account: int, chain_id: int | None = None) -> list[dict[str, Any]]:
    """A wallet with a test account's key, on the market's chain or another; what it was asked to sign."""
    key = Account.from_key(net.document["accounts"][account]["private_key"])
    asked: list[dict[str, Any]] = []

    def sign(typed: str) -> str:
        asked.append(json.loads(typed))
        signature: bytes = key.sign_typed_data(full_message=asked[-1]).signature
        return "0x" + signature.hex().removeprefix("0x")

    chain = hex(net.document["chain_id"] if chain_id is None else chain_id)
    wallet = {"address": json.dumps(key.address.lower()), "chain": json.dumps(chain)}
    tab.page.add_init_script(WALLET % wallet)
    tab.page.expose_function("signTyped", sign)
    return asked


@pytest.fixture
def open_tab(chromium: Any, net: Running) -> Iterator[Any]:
    """Opens tabs on the testnet's pages; none may have complained in the end."""
    contexts, tabs = [], []

    def opened(**options: Any) -> Tab:
        contexts.append(chromium.new_context(base_url=net.document["api_url"], **options))
        tabs.append(Tab(contexts[-1]))
        return tabs[-1]

    yield opened
    for context in contexts:
        context.close()
    assert [each for tab in tabs for each in tab.wrong if not each.startswith(tab.forgiven)] == []
