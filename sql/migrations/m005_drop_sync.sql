-- Former versions sent rows to an endpoint and kept an outbox here.
drop table if exists ka_sync_rows;
drop table if exists ka_sync_batches;
drop table if exists ka_sync_settings;
