-- What is read of a closed period without reading all of it: any rank style, one member, and what came late.

-- `dense` is the rank that counts equals once (1223), as `rank` is the one that counts all above (1224).
ALTER TABLE board_results ADD COLUMN dense INTEGER NOT NULL DEFAULT 0;
UPDATE board_results SET dense = ranked.dense
FROM (
  SELECT tenant, board, period, place,
    dense_rank() OVER (PARTITION BY tenant, board, period ORDER BY rank) AS dense
  FROM board_results
) AS ranked
WHERE board_results.tenant = ranked.tenant AND board_results.board = ranked.board
  AND board_results.period = ranked.period AND board_results.place = ranked.place;

CREATE INDEX board_results_by_subject ON board_results (tenant, board, period, subject);

CREATE TABLE late_tallies (
  -- Tallies that an event changed after their period was closed: what may differ from the final standings.
  -- `reached` is the sequence of the last such event; the value stands in `tallies`.
  tenant   TEXT    NOT NULL,
  period   TEXT    NOT NULL,
  metric   TEXT    NOT NULL,
  subject  TEXT    NOT NULL,
  reached  INTEGER NOT NULL,
  PRIMARY KEY (tenant, period, metric, subject)
) STRICT, WITHOUT ROWID;

INSERT INTO late_tallies (tenant, period, metric, subject, reached)
SELECT tallies.tenant, tallies.period, tallies.metric, tallies.subject, tallies.reached
FROM periods JOIN tallies ON tallies.tenant = periods.tenant AND tallies.period = periods.period
WHERE periods.closed > 0 AND tallies.reached > periods.closed AND instr(tallies.metric, '.') = 0;
