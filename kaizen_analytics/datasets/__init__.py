"""What may leave this machine: four tables, described once and used by exports and by sync.

    catalogue      sessions, metrics, experiments, bets: their columns
    fields         a column, a table, its projection and its schema
    rows           the same tables, read from a store
    models         names of models that anybody may see
    wording        a bet's sentences without names that nobody declared
    summaries      Markdown, to paste
    export         a table as the content of a file
    places         where it goes
    documentation  the tables in docs/exports.md

Nothing here leaves a machine by itself: the command `export` and the room `sync` ask for it.
"""
