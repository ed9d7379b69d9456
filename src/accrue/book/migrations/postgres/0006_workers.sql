-- Which workers there are, so that they can share the partitions out.

CREATE TABLE workers (
  name       text    COLLATE "C" NOT NULL PRIMARY KEY,
  heartbeat  bigint  NOT NULL,
  room       bigint  NOT NULL,
  wary       boolean NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE workers IS 'A worker raises its counter while it is there. It has room for so many partitions in all; '
  'a wary one wants none while others can have it: one is on its way to it already, or it could not work on one lately.';
