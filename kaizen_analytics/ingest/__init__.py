"""From transcripts to rows, in the order in which data flows.

discover            which transcripts lie under which homes; the only walk over them
reading             from a file to parsed records, always the whole file (`checkpoints`: what it was when last read)
readers             the same in processes beside this one, where there is much to read
claude_code, codex, cursor, cursor_database                 one format each; `records` and `tools` are what they share
pricing, gitref     what a response cost; where, on which commit and under which instructions a session ran
writing             one batch becomes whole sessions, in one transaction (`rows`; `owners`: of records in several files)
pipeline            `run_ingest`, the whole run, and its `summary`
tail                the same, live
disk                what lies on disk and not in the store, and the other way round
"""
