-- What it takes to take events back.

CREATE TABLE applied_events (
  partition  bigint NOT NULL,
  tenant     text COLLATE "C" NOT NULL,
  event_id   text COLLATE "C" NOT NULL,
  state      text COLLATE "C" NOT NULL,
  until_us   bigint NOT NULL,
  effects    text NOT NULL,
  PRIMARY KEY (tenant, event_id)
);
COMMENT ON TABLE applied_events IS 'Events of types that can be retracted, until log time `until_us`. `state` is '
  '`applied`, with what the event gave in `effects` (JSON), `retracted`, `awaited` when the retraction came before its '
  'event, or `retraction` for the id of a retraction itself.';

CREATE INDEX applied_events_by_expiry ON applied_events (partition, until_us);
CREATE INDEX applied_events_awaited ON applied_events (partition, tenant, event_id) WHERE state = 'awaited';
