"""`python -m kaizen_analytics` is the command `kaizen-analytics`.

The hook goes its own short way: an agent waits for it at each start, and the command line takes longer to import. The
agents' settings start this file itself, without site-packages: `python -I -S .../kaizen_analytics/__main__.py hook`.
"""

import gc
import importlib
import sys
from os.path import abspath, dirname

if not __package__:
    sys.path.append(dirname(dirname(abspath(__file__))))

from kaizen_analytics import hook


def main() -> None:
    """Run the command line, or the hook, and exit.

    >>> main()  # doctest: +SKIP
    """
    if sys.argv[1:2] == ["hook"]:
        ends = sys.argv[-1] == "--ingest"
        (importlib.import_module("kaizen_analytics.session_end") if ends else hook).main(sys.argv[2:])
    gc.set_threshold(50_000)  # imports make many objects that stay: looking for garbage costs a twentieth of a start
    importlib.import_module("kaizen_analytics.cli").main()


if __name__ == "__main__":
    main()
