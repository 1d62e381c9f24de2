"""Sync, opt-in: projected facts of a store to a lake or an HTTP endpoint, each row once.

    settings       where to, what, and whether: off until somebody enables it
    batches        rows that changed since they were last taken, as exact bytes under a key
    transport      one HTTP request, and what its answer means
    delivery       outbox in, acknowledgements out; retries, parked batches, the lock
    status         what was acknowledged, what waits, what is parked

`preview` and `run` make batches with the same function, so what is shown is what is sent.
"""
