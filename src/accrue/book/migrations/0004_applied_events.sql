-- What it takes to take events back.

CREATE TABLE applied_events (
  -- Events of types that can be retracted, until log time `until_us`. `state` is `applied`, with what the event gave
  -- in `effects` (JSON), `retracted`, `awaited` when the retraction came before its event, or `retraction` for the
  -- id of a retraction itself.
  partition  INTEGER NOT NULL,
  tenant     TEXT    NOT NULL,
  event_id   TEXT    NOT NULL,
  state      TEXT    NOT NULL,
  until_us   INTEGER NOT NULL,
  effects    TEXT    NOT NULL,
  PRIMARY KEY (tenant, event_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX applied_events_by_expiry ON applied_events (partition, until_us);
CREATE INDEX applied_events_awaited ON applied_events (partition) WHERE state = 'awaited';
