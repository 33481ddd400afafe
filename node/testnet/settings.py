"""What `wattbook testnet` is asked for, and why it may refuse to start."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.keys import TEST_MNEMONIC
from market.messages import ORACLES_MAX

if TYPE_CHECKING:
    from node.scenario.schema import ScenarioFile

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+")
"""Scheme, host and port of a page, without a path (RFC 6454)."""
ACCOUNTS_MAX = 200
"""Prosumers that a testnet registers and meters at most."""
HORIZON_MAX = 96


class StartError(Exception):
    """The testnet cannot start; the message is one line for the person at the terminal.

    StartError
    ├── SettingError    an option's value is not allowed, or impossible on this machine: wrong usage
    ├── PortError       the port is not ours to listen on at present
    └── FolderError     the data folder is damaged, in use or incomplete, or a file could not be written
    """


class SettingError(StartError):
    """An option's value is not allowed, or impossible."""


class PortError(StartError):
    """Nothing can listen there."""


class FolderError(StartError):
    """A data folder cannot be resumed, or a file not be written."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of the command. `accounts`, `mnemonic`, `scenario` None: those of the data folder, or the
    default; accounts are by default as many as the scenario's prosumers.

    Port 0 lets the system choose. Charges and prices, or readings, come from processes elsewhere where it
    says so; `horizon` is how many slots oracles elsewhere clear together. Raises SettingError.
    """

    port: int = 8545
    api_port: int = 8000
    host: str = "127.0.0.1"
    data: Path | None = None
    accounts: int | None = None
    block_time_seconds: int | None = None
    mnemonic: str | None = None
    config_out: Path | None = None
    oracles: int = 3
    oracles_elsewhere: bool = False
    meters_elsewhere: bool = False
    horizon: int = 1
    origins: tuple[str, ...] = ()
    scenario: ScenarioFile | None = None

    def __post_init__(self) -> None:
        for name, port in (("--port", self.port), ("--api-port", self.api_port)):
            if not 0 <= port <= 65_535:
                raise SettingError(f"{name} {port}: a port is a number from 0 to 65535")
        if self.port == self.api_port != 0:
            raise SettingError(f"--api-port {self.api_port}: is --port already; name another one")
        if self.accounts is not None and not 1 <= self.accounts <= ACCOUNTS_MAX:
            raise SettingError(f"--accounts {self.accounts}: from 1 to {ACCOUNTS_MAX}")
        if self.scenario is not None:
            _check_population(self.scenario, self.accounts)
        if not 1 <= self.oracles <= ORACLES_MAX:
            raise SettingError(f"--oracles {self.oracles}: from 1 to {ORACLES_MAX}")
        if not 1 <= self.horizon <= HORIZON_MAX:
            raise SettingError(f"--horizon {self.horizon}: from 1 to {HORIZON_MAX} slots")
        if self.horizon > 1 and not self.oracles_elsewhere:
            raise SettingError(f"--horizon {self.horizon}: only with --without-oracles")
        if self.block_time_seconds is not None and not 1 <= self.block_time_seconds <= 60:
            raise SettingError(f"--block-time {self.block_time_seconds}: from 1 to 60 seconds")
        for origin in self.origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise SettingError(
                    f"--allow-origin {origin}: is no origin of pages, as https://example.org or http://host:8080"
                )

    @property
    def words(self) -> str:
        """The mnemonic in force."""
        return TEST_MNEMONIC if self.mnemonic is None else self.mnemonic


def _check_population(scenario: ScenarioFile, accounts: int | None) -> None:
    """Everybody of a scenario has an account. Raises SettingError."""
    listed = len(scenario.prosumer)
    if listed and accounts not in (None, listed):
        raise SettingError(
            f"--accounts {accounts}: the scenario lists {listed} [[prosumer]], an account for each; leave"
            " --accounts out"
        )
    if accounts is None and scenario.population > ACCOUNTS_MAX:
        remedy = "" if listed else f"; --accounts {ACCOUNTS_MAX} draws so many"
        raise SettingError(
            f"--scenario: {scenario.population} prosumers, and a testnet has at most {ACCOUNTS_MAX}"
            f" accounts{remedy}"
        )
