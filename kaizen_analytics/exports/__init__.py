"""What may leave this machine, declared once and projected once.

    columns      every table and column of files and lakes, and the reference page
    project      the projection of frames
    tables       the tables of files, read from a store, and their Markdown
    files        formats, and where a file goes: folders and object stores
    engines      where the queries of a lake run: in this process, or on Spark
    lake         the facts of many stores in one place
    otlp         session totals for a collector

Nothing here leaves a machine by itself: the command `export` asks for it.
"""
