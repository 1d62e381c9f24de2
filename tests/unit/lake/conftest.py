"""A store of one machine and a folder for its lake; or both, made once, for tests that leave the store alone."""

import shutil
from pathlib import Path

import pytest
from lake_cases import Exported, export, make_cases, make_team, write_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "kaizen.db", make_cases(0, 6))


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(scope="session")
def first_export(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("exported")
    made = Exported(write_store(folder / "kaizen.db", make_cases(0, 6)), folder / "lake", folder / "home")
    export(made.store, made.lake, made.home)
    return made


@pytest.fixture
def exported(first_export: Exported, lake: Path) -> Exported:
    """The store and home that all such tests share, and a lake of one's own."""
    shutil.copytree(first_export.lake, lake)
    return Exported(first_export.store, lake, first_export.home)


@pytest.fixture(scope="session")
def team(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A lake that five machines exported to, and the one store that holds all they have; to be read only."""
    return make_team(tmp_path_factory.mktemp("team"))
