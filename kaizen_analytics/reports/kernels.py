"""The kernel of a report: this very Python, reached over sockets in a private folder, without the user's profile.

Stock Jupyter talks over TCP ports of the loopback interface, keeps the key to them in the home folder, starts
whichever interpreter a kernel specification names, and runs the user's IPython start-up files first.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from kaizen_analytics.errors import ReportError

if TYPE_CHECKING:
    from collections.abc import Iterator

KERNEL_NAME = "python3"
_SOCKET_STEM = "k"
_LONGEST_SOCKET = 100
"""The kernel of the operating system allows 107 bytes (Linux) or 103 (macOS) for the path of a socket."""
_PREFIX = "kaizen-"


@contextmanager
def private_folder(run_id: str) -> Iterator[Path]:
    """Yield a new short folder that only this user can enter, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{run_id}-", dir=_short_parent(run_id)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_private_folders(run_id: str) -> None:
    """Remove the private folder of a run that died."""
    for folder in Path(_short_parent(run_id)).glob(f"{_PREFIX}{run_id}-*"):
        if folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)


def manager_class(folder: Path) -> type[AsyncKernelManager]:
    """Return a kernel manager class whose kernels live in `folder`."""

    class PrivateKernelManager(AsyncKernelManager):
        def __init__(self, **options: Any) -> None:  # noqa: ANN401 - whatever nbclient passes on
            super().__init__(**options)
            self.transport = "ipc"
            self.ip = str(folder / _SOCKET_STEM)
            self.connection_file = str(folder / "connection.json")

        @property
        def kernel_spec(self) -> KernelSpec:
            argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            environment = {"IPYTHONDIR": str(folder / "ipython"), "PYTHONHASHSEED": "0"}
            return KernelSpec(argv=argv, display_name=KERNEL_NAME, language="python", env=environment)

    return PrivateKernelManager


def _short_parent(run_id: str) -> str:
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp makes a private folder in it
        if len(f"{parent}/{_PREFIX}{run_id}-12345678/{_SOCKET_STEM}-5") <= _LONGEST_SOCKET:
            return parent
    raise ReportError(f"The temporary folder {tempfile.gettempdir()} has too long a path for sockets; set TMPDIR.")
