"""Reports: notebooks run unattended and rendered to one page.

catalogue    which notebooks are reports, and the parameters of each, checked before a kernel starts
runner       one run, or several at once: locked, staged, executed, judged, published whole, recorded
publication  the folder of a run, and its record
rendering    an executed notebook as HTML, Markdown and JSON
sharing      reports that leave this machine
schedules    which slots are due, making them, messages about them, the units that make a scheduler call us
"""

import sys

# Notebooks load jsonschema, and with it a check of IRIs that no schema here asks for: its grammar takes 1.4 s to build.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
