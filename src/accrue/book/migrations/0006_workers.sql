-- Which workers there are, so that they can share the partitions out.

CREATE TABLE workers (
  -- A worker raises its counter while it is there. It has room for so many partitions in all; a wary one wants none while
  -- others can have it: one is on its way to it already, or it could not work on one lately.
  name       TEXT    NOT NULL PRIMARY KEY,
  heartbeat  INTEGER NOT NULL,
  room       INTEGER NOT NULL,
  wary       INTEGER NOT NULL
) STRICT;
