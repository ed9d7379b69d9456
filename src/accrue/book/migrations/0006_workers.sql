-- Which workers there are, so that they can share the partitions out.

CREATE TABLE workers (
  -- A worker raises its counter while it is there. It has room for so many partitions in all; a wary one could not work
  -- on one lately, and wants no more than nobody else takes.
  name       TEXT    NOT NULL PRIMARY KEY,
  heartbeat  INTEGER NOT NULL,
  room       INTEGER NOT NULL,
  wary       INTEGER NOT NULL
) STRICT;
