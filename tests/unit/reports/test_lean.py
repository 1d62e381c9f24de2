"""Libraries without optional parts of theirs, which can still be imported afterwards."""

import subprocess
import sys

PROGRAM = """
import sys
from kaizen_analytics.reports import lean

assert "jsonschema" in sys.modules and "rfc3987_syntax" not in sys.modules
lean.load_papermill()
assert "papermill" in sys.modules and "pyarrow" not in sys.modules

import pyarrow.fs
import rfc3987_syntax
from papermill.iorw import papermill_io

assert pyarrow.fs.FileSelector and rfc3987_syntax.is_valid_syntax
assert papermill_io.get_handler("notebook.ipynb")
"""


def test_optional_parts_are_left_out_and_stay_importable() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
