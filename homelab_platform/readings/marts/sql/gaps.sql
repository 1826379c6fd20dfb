WITH earlier AS (
    SELECT d.date, e.device, e.sensor, max(e.last) AS last
    FROM (SELECT date, device, sensor, max(ts) AS last FROM history GROUP BY date, device, sensor) e
    JOIN days d ON e.date < d.date AND e.date >= d.date - INTERVAL '7' DAY
    GROUP BY d.date, e.device, e.sensor
), steps AS (
    SELECT
        r.date,
        coalesce(r.site, '') AS site,
        r.device,
        r.sensor,
        r.stream,
        r.ts,
        coalesce(lag(r.ts) OVER (PARTITION BY r.date, r.device, r.sensor ORDER BY r.ts), e.last) AS before
    FROM readings r
    LEFT JOIN earlier e ON e.date = r.date AND e.device = r.device AND e.sensor = r.sensor
), distances AS (
    SELECT date, site, device, sensor, stream, ts, before, to_unixtime(ts) - to_unixtime(before) AS seconds
    FROM steps
    WHERE before IS NOT NULL
), pace AS (
    SELECT date, device, sensor, percentile_of(array_agg(seconds ORDER BY seconds), 0.5e0) AS usual, count(*) AS steps
    FROM distances
    GROUP BY date, device, sensor
), judged AS (
    SELECT
        d.date,
        d.site,
        d.device,
        d.sensor,
        d.before,
        d.ts,
        d.seconds,
        coalesce(s.every, CASE WHEN p.steps >= 10 THEN p.usual END) AS expected_seconds
    FROM distances d
    JOIN pace p ON p.date = d.date AND p.device = d.device AND p.sensor = d.sensor
    LEFT JOIN sensors s ON s.stream = d.stream AND s.sensor = d.sensor
)
SELECT
    date,
    site,
    device,
    sensor,
    before AS gap_start,
    ts AS gap_end,
    seconds,
    expected_seconds,
    greatest(0, CAST(round(seconds / expected_seconds) AS bigint) - 1) AS missing
FROM judged
WHERE expected_seconds > 0 AND seconds > 3 * expected_seconds
