"""Was the work any good: checks, commits, what landed, what was reverted, which lines are left."""
