-- Who has a partition and how to reach them, whether they still live, and what was fixed when all of it began.

-- Where the owner answers questions about its tenants; '' when nobody is to be asked.
ALTER TABLE partitions ADD COLUMN address TEXT NOT NULL DEFAULT '';

CREATE TABLE heartbeats (
  -- A counter that the owner of a partition raises while it lives, and the epoch that may raise it. Apart from
  -- `partitions`, because a settlement holds that row until it has committed, and must not look like a death.
  partition  INTEGER NOT NULL PRIMARY KEY,
  epoch      INTEGER NOT NULL,
  heartbeat  INTEGER NOT NULL
) STRICT;

INSERT INTO heartbeats (partition, epoch, heartbeat) SELECT partition, epoch, 0 FROM partitions;

CREATE TABLE deployment (
  -- One row: into how many partitions the tenants are divided, for ever, and the log that all of them stand in.
  number        INTEGER NOT NULL PRIMARY KEY CHECK (number = 1),
  partitions    INTEGER NOT NULL,
  log_identity  TEXT    NOT NULL,
  created_us    INTEGER NOT NULL
) STRICT;
