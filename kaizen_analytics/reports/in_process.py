"""Executes a notebook inside this very process: no kernel, no sockets, half the time.

For a process that makes one report and ends (`batch`): a crash takes only that report with it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kaizen_analytics.reports import lean  # noqa: F401 - before papermill, which imports nbformat

from nbformat import v4  # isort: skip
from papermill.engines import Engine, papermill_engines  # isort: skip

if TYPE_CHECKING:
    from collections.abc import Callable

ENGINE_NAME = "kaizen-in-process"


class InProcessEngine(Engine):  # type: ignore[misc]  # papermill has no types
    """papermill's engine with IPython's shell in place of a kernel."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,  # noqa: ANN401 - papermill has no types
        kernel_name: str,  # noqa: ARG003 - there is no kernel
        *,
        resources: dict[str, dict[str, str]],
        on_notebook_start: Callable[..., None],
        on_cell_start: Callable[..., None],
        on_cell_complete: Callable[..., None],
        **options: object,  # noqa: ARG003 - what a kernel would need
    ) -> None:
        """Run the cells in order and stop at the first error."""
        os.chdir(resources["metadata"]["path"])
        shell = _make_shell()
        notebook = nb_man.nb
        on_notebook_start(notebook=notebook)
        for index, cell in enumerate(notebook.cells):
            on_cell_start(cell=cell, cell_index=index)
            if cell.cell_type == "code" and cell.source.strip() and not _run_cell(shell, cell):
                return
            on_cell_complete(cell=cell, cell_index=index)


def register() -> str:
    """Make the engine known to papermill and return its name."""
    papermill_engines.register(ENGINE_NAME, InProcessEngine)
    return ENGINE_NAME


def _make_shell() -> Any:  # noqa: ANN401 - IPython's shell
    from IPython.core.displayhook import DisplayHook
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class PublishingHook(DisplayHook):
        """Publishes the value of a cell's last line, as a kernel does, instead of printing it."""

        def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
            shell: Any = self.shell
            shell.display_pub.publish(data=format_dict, metadata=md_dict or {})

        def start_displayhook(self) -> None:
            """Print nothing."""

        write_output_prompt = finish_displayhook = start_displayhook

    class Shell(InteractiveShell):
        displayhook_class = PublishingHook

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    return Shell.instance(config=config)


def _run_cell(shell: Any, cell: Any) -> bool:  # noqa: ANN401 - IPython and nbformat
    """Run one cell, fill in its outputs and say whether it went well."""
    from IPython.utils.capture import capture_output

    cell.execution_count = shell.execution_count
    with capture_output() as captured:
        result = shell.run_cell(cell.source, store_history=True)
    error = result.error_before_exec or result.error_in_exec
    # IPython prints the traceback; the error's own output carries its last line.
    streams = [("stdout", "" if error else captured.stdout), ("stderr", captured.stderr)]
    cell.outputs = [v4.new_output("stream", name=name, text=text) for name, text in streams if text]
    cell.outputs += [
        v4.new_output("display_data", data=output.data, metadata=output.metadata or {}) for output in captured.outputs
    ]
    if error is None:
        return True
    name = type(error).__name__
    cell.outputs.append(v4.new_output("error", ename=name, evalue=str(error), traceback=[f"{name}: {error}"]))
    return False
