-- Who has a partition and how to reach them, whether they still live, and what was fixed when all of it began.

-- Where the owner answers questions about its tenants; '' when nobody is to be asked.
ALTER TABLE partitions ADD COLUMN address text NOT NULL DEFAULT '';

CREATE TABLE heartbeats (
  partition  bigint NOT NULL PRIMARY KEY,
  epoch      bigint NOT NULL,
  heartbeat  bigint NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE heartbeats IS 'A counter that the owner of a partition raises while it lives, and the epoch that may '
  'raise it. Apart from `partitions`, because a settlement holds that row until it has committed, and must not look like '
  'a death.';

INSERT INTO heartbeats (partition, epoch, heartbeat) SELECT partition, epoch, 0 FROM partitions;

CREATE TABLE deployment (
  number        bigint NOT NULL PRIMARY KEY CHECK (number = 1),
  partitions    bigint NOT NULL,
  log_identity  text   NOT NULL,
  created_us    bigint NOT NULL
);
COMMENT ON TABLE deployment IS 'One row: into how many partitions the tenants are divided, for ever, and the log that '
  'all of them stand in.';
