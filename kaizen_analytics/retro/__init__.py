"""Retros: from a week of sessions to a few bets, and from a bet to the experiment that proves it.

    relations      the sessions of one window as relations
    heuristics     one SQL file each (sql/retro), with thresholds; findings
    bets           ranking, repeats, choice
    earlier        what became of former bets
    tally          the window in numbers
    retro          compute_retro, save_retro
    guidance       skills and rules on disk against the sessions that used them
    proposal       the experiment that would prove a bet
    sections       the report's sections; Markdown and plain text
    documentation  the table of heuristics in docs/retro.md

Nothing here writes into a repository.
"""
