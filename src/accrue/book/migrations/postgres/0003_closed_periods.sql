-- What is read of a closed period without reading all of it: any rank style, one member, and what came late.

-- `dense` is the rank that counts equals once (1223), as `rank` is the one that counts all above (1224).
ALTER TABLE board_results ADD COLUMN dense bigint NOT NULL DEFAULT 0;

CREATE INDEX board_results_by_subject ON board_results (tenant, board, period, subject);

CREATE TABLE late_tallies (
  tenant   text COLLATE "C" NOT NULL,
  period   text COLLATE "C" NOT NULL,
  metric   text COLLATE "C" NOT NULL,
  subject  text COLLATE "C" NOT NULL,
  reached  bigint NOT NULL,
  PRIMARY KEY (tenant, period, metric, subject)
) WITH (fillfactor = 70);
COMMENT ON TABLE late_tallies IS 'Tallies that an event changed after their period was closed: what may differ from '
  'the final standings. `reached` is the sequence of the last such event; the value stands in `tallies`.';
