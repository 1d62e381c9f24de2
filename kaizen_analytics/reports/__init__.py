"""Reports: notebooks run unattended and rendered to one page.

catalogue    which notebooks are reports, and what each declares
parameters   typed parameters, checked before a kernel starts
runner       one run: locked, staged, executed, judged, published whole, recorded
execution, fingerprint, publication, ledger     what the runner is made of
rendering    an executed notebook as HTML, Markdown and JSON
sharing      reports that leave this machine
schedules, due, units    what is due, making it, and what calls us
batch        several reports at once
"""
