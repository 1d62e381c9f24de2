"""Pages: results as blocks for a notebook, a report, a terminal and Markdown."""
