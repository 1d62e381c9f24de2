"""The lake: the facts of many stores in one folder or object store, under pseudonyms that share one key.

    catalogue    the key, and the files that count, replaced in one step
    facts        what a store holds of each table
    export       stage what changed, scan it, publish it
    reading      many stores as one set of relations; every metric on any engine
    experiments  evaluations on a lake

`exports.columns` declares the tables.
"""
