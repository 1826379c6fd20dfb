-- The readings in steps of five minutes, which the detector of readings/anomalies.py then goes through series by
-- series: what is unusual depends on the fortnight before, step by step, and no SQL engine says that well.
SELECT
    device,
    sensor,
    coalesce(site, '') AS site,
    max_by(unit, ts) FILTER (WHERE unit IS NOT NULL) AS unit,
    min(ts) AS ts,
    percentile_of(array_agg(value ORDER BY value), 0.5e0) AS value
FROM history
GROUP BY device, sensor, coalesce(site, ''), CAST(floor(to_unixtime(ts) / 300) AS bigint)
ORDER BY device, sensor, site, ts
