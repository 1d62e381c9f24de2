"""From transcripts to rows, in the order in which data flows.

discover            which transcripts lie under which homes; the only walk over them
reading             from a file to parsed records, from where the last reading ended (`checkpoints`)
claude_code, codex, cursor, cursor_database     one format each; `records` and `tools` are what they share
pricing, gitref     what a response cost; where and on which commit a session ran
ownership           which file owns a record that several hold
writing             one batch becomes rows, in one transaction (`rows`)
pipeline            `run_ingest`, the whole run, and its `summary`
tail                the same, live
"""
