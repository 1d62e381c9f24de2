"""Executes a notebook with papermill, its own engine and the kernel `python3`, and checks that it ran to its end.

papermill marks every cell of a killed or timed-out run as completed and takes `sys.exit(0)` for success. Here a run is
a success only if every code cell has an execution count and none has an error.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kaizen_analytics.reports.publication import RunState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kaizen_analytics.reports.catalogue import Value

Progress = Callable[[int, int], None]
"""Called with the number of finished cells and the number of all cells."""

_START_TIMEOUT_S = 60
_KERNEL = "python3"
_LONGEST_ERROR = 2_000
_CONTROL = re.compile("\x1b\\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How an execution ended. `notebook` is None when no kernel came up; `error` is None after a success."""

    state: RunState
    notebook: Any
    error: str | None


def execute(
    notebook: Any,  # noqa: ANN401 - nbformat has no types
    parameters: Mapping[str, Value],
    *,
    folder: Path,
    timeout_s: float,
    progress: Progress,
) -> Execution:
    """Run all cells of `notebook` in a kernel of its own.

    Args:
        notebook: An nbformat notebook; it is not changed.
        parameters: Checked values of the declared parameters.
        folder: Working directory of the kernel.
        timeout_s: Seconds that all cells together may take.
        progress: Told of every finished cell.

    Raises:
        KeyboardInterrupt: an interruption, after the kernel is gone.
        OSError: the kernel could not be started.

    >>> from unittest.mock import patch
    >>> from nbformat import v4
    >>> with patch(f"{__name__}._KERNEL", "none"):
    ...     done = execute(v4.new_notebook(), {}, folder=tmp, timeout_s=9, progress=print)
    >>> done.state.value
    'kernel_died'
    """
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    watch = _Watch(timeout_s=timeout_s, progress=progress)
    try:
        _run_papermill(notebook, parameters, watch, folder)
    except PapermillExecutionError:
        pass  # the judgement below finds the cell
    except CellTimeoutError:
        error = f"The notebook ran longer than {timeout_s:g} s, in {watch.cell_words()}; see --timeout."
        return Execution(state=RunState.TIMED_OUT, notebook=watch.notebook, error=error)
    except DeadKernelError:
        error = f"The kernel died in {watch.cell_words()}: it crashed, left by os._exit, or ran out of memory."
        return Execution(state=RunState.KERNEL_DIED, notebook=watch.notebook, error=error)
    except (RuntimeError, NoSuchKernel) as failure:
        if watch.notebook is not None:
            raise
        error = f"The kernel did not start: {_clean_text(str(failure))}. Is ipykernel installed?"
        return Execution(state=RunState.KERNEL_DIED, notebook=None, error=error)
    return _judge_execution(watch.notebook)


def _judge_execution(notebook: Any) -> Execution:  # noqa: ANN401 - nbformat has no types
    """Return a success only if every code cell ran and none has an error."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    errors = [
        _describe_error(output, number, len(cells))
        for number, cell in enumerate(cells, start=1)
        for output in cell.outputs
        if output.output_type == "error"
    ]
    errors += [
        f"Code cell {number} of {len(cells)} did not run: the notebook stopped before its end."
        for number, cell in enumerate(cells, start=1)
        if cell.execution_count is None
    ]
    state = RunState.FAILED if errors else RunState.SUCCESS
    return Execution(state=state, notebook=notebook, error=errors[0] if errors else None)


def strip_traces(notebook: Any) -> Any:  # noqa: ANN401 - nbformat has no types
    """Return `notebook` without the times, paths and random ids that papermill and nbclient put into it.

    >>> from nbformat import v4
    >>> notebook = v4.new_notebook(metadata={"papermill": {"duration": 1.5}}, cells=[v4.new_code_cell("1")])
    >>> "papermill" in strip_traces(notebook).metadata
    False
    """
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", ()):
            cell.id = "injected-parameters"
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
    return notebook


def _clean_text(text: str) -> str:
    """Return text from a kernel without control characters, cut to a size that fits a record."""
    return _CONTROL.sub("", text).strip()[:_LONGEST_ERROR]


class _Watch:
    """What nbclient's hooks tell us: the notebook as it fills, the cell at work, the time that is left."""

    def __init__(self, *, timeout_s: float, progress: Progress) -> None:
        self.notebook: Any = None
        self.timeout_s = timeout_s
        self.progress = progress
        self.cell_index = 0
        self.deadline = time.monotonic() + timeout_s

    def start(self, notebook: Any) -> None:  # noqa: ANN401 - nbformat has no types
        self.notebook = notebook
        self.progress(0, len(notebook.cells))

    def enter(self, cell: Any, cell_index: int) -> None:  # noqa: ANN401, ARG002 - the signature of a hook
        self.cell_index = cell_index

    def leave(self, cell: Any, cell_index: int) -> None:  # noqa: ANN401, ARG002 - the signature of a hook
        self.progress(cell_index + 1, len(self.notebook.cells))

    def time_left_s(self, cell: Any) -> float:  # noqa: ANN401, ARG002 - the signature of a hook
        return max(self.deadline - time.monotonic(), 0.001)

    def cell_words(self) -> str:
        return f"cell {self.cell_index + 1} of {len(self.notebook.cells)}"


def _run_papermill(
    notebook: Any,  # noqa: ANN401 - nbformat has no types
    parameters: Mapping[str, Value],
    watch: _Watch,
    folder: Path,
) -> None:
    from papermill import execute_notebook
    from traitlets.config import Config

    # papermill and nbclient log what becomes the run's error; a traceback on the terminal would say it twice.
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    execute_notebook(
        notebook,
        None,  # no file of papermill's: the notebook reaches us through the hook, also after a failure
        parameters=dict(parameters),
        progress_bar=False,
        start_timeout=_START_TIMEOUT_S,
        kernel_name=_KERNEL,
        language="python",
        autosave_cell_every=0,
        timeout_func=watch.time_left_s,
        shutdown_kernel="immediate",
        extra_arguments=["--HistoryManager.enabled=False"],  # texts of a shared report stay out of the home folder
        config=Config(KernelManager={"transport_encryption": "auto"}),
        resources={"metadata": {"path": str(folder)}},  # the kernel's working directory; ours stays
        record_timing=False,
        store_widget_state=False,
        on_notebook_start=watch.start,
        on_cell_start=watch.enter,
        on_cell_complete=watch.leave,
    )


def _describe_error(output: Any, number: int, total: int) -> str:  # noqa: ANN401 - nbformat has no types
    if output.ename == "SystemExit":
        return f"Code cell {number} of {total} left the notebook with sys.exit({_clean_text(output.evalue)})."
    return f"Code cell {number} of {total} failed: {_clean_text(f'{output.ename}: {output.evalue}')}"
