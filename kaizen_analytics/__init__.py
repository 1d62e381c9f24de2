"""kaizen_analytics."""
