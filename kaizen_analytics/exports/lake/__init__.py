"""The lake: the facts of many stores in one folder or object store, under pseudonyms that share one key.

    export       stage what changed of a store, scan it, publish it
    reading      the key, the files that count; many stores as one set of relations, every metric on any engine
    experiments  evaluations on a lake

`exports.columns` declares the tables.
"""
