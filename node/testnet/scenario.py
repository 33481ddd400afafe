"""The scenario that a data folder keeps: the document, and its files' contents.

So a market is resumed whatever became of the files since. `scenario.json` is the document, with its files
named as they lie in `scenario/`: the feeder's under its own name, which proofs carry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from market.feeder.model import FeederError
from node.scenario.schema import ScenarioFile
from node.testnet.record import write_whole
from node.testnet.settings import FolderError

DOCUMENT, FILES, PROFILES = "scenario.json", "scenario", "profiles.csv"
NOWHERE = Path()
"""Where files lie that are named by their own name alone."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A scenario apart from where its files lie: `document` names them as `files` does."""

    document: ScenarioFile
    files: Mapping[str, bytes]

    @classmethod
    def of(cls, scenario: ScenarioFile) -> Kept:
        """What is to be kept of a scenario. Raises FeederError for a file that cannot be read."""
        files = {}
        for key, path, own in _files(scenario):
            try:
                files[own] = path.read_bytes()
            except OSError as failure:
                raise FeederError(f"{key}: {path}: {failure.strerror}") from None
        return cls(_renamed(scenario, NOWHERE), files)

    @classmethod
    def read(cls, folder: Path) -> Kept | None:
        """What a data folder keeps, None where there is nothing. Raises FolderError."""
        path = folder / DOCUMENT
        try:
            document = ScenarioFile.model_validate_json(path.read_bytes())
            return cls.of(_renamed(document, folder / FILES))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as failure:
            raise FolderError(f"{path}: cannot be read: {failure.strerror}") from None
        except ValidationError:
            raise FolderError(f"{path}: damaged, or of another version; name another data folder") from None
        except FeederError as failure:
            raise FolderError(f"{path}: {failure}") from None

    def write(self, folder: Path) -> None:
        """Keep it in a data folder. Raises FolderError."""
        try:
            (folder / FILES).mkdir(exist_ok=True)
        except OSError as failure:
            raise FolderError(f"{folder / FILES}: cannot be used: {failure.strerror}") from None
        for name, content in self.files.items():
            write_whole(folder / FILES / name, content)
        write_whole(folder / DOCUMENT, (self.document.model_dump_json(indent=2) + "\n").encode())

    def lying_in(self, folder: Path) -> ScenarioFile:
        """The scenario with its files in a data folder."""
        return _renamed(self.document, folder / FILES)

    def differing(self, other: Kept) -> list[str]:
        """Tables that are not the other's, and files whose contents are not."""
        mine, others = self.document.model_dump(), other.document.model_dump()
        tables = [name for name, value in mine.items() if value != others[name]]
        shared = sorted(self.files.keys() & other.files.keys())
        return tables + [name for name in shared if self.files[name] != other.files[name]]


def _files(scenario: ScenarioFile) -> Iterator[tuple[str, Path, str]]:
    """Key, place and kept name of each file that a scenario names. Raises FeederError."""
    if scenario.feeder.names_file(scenario.feeder.name):
        from market.feeder.pandapower import name_and_part  # noqa: PLC0415 - slow to import

        place = Path(name_and_part(scenario.feeder.name)[0])
        yield "feeder.name", place, place.name
    if scenario.profiles.file is not None:
        yield "profiles.file", Path(scenario.profiles.file), PROFILES


def _renamed(scenario: ScenarioFile, folder: Path) -> ScenarioFile:
    """The scenario with its files in a folder, under their kept names."""
    feeder, profiles = scenario.feeder, scenario.profiles
    if feeder.names_file(feeder.name):
        feeder = feeder.model_copy(update={"name": str(folder / Path(feeder.name).name)})
    if profiles.file is not None:
        profiles = profiles.model_copy(update={"file": str(folder / PROFILES)})
    return scenario.model_copy(update={"feeder": feeder, "profiles": profiles})
