"""`python -m kaizen_analytics` is the command `kaizen-analytics`."""

from kaizen_analytics.cli import main

if __name__ == "__main__":
    main()
