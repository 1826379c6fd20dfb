WITH seen AS (
    SELECT
        date,
        device,
        max(site) AS site,
        count(*) AS readings,
        count(DISTINCT sensor) AS sensors,
        min(ts) AS first_seen,
        max(ts) AS last_seen,
        count(*) FILTER (WHERE quality = 'out_of_range') AS out_of_range
    FROM readings
    GROUP BY date, device
), listed AS (
    SELECT d.date, v.device, max(v.site) AS site
    FROM days d CROSS JOIN devices v
    WHERE d.seconds > 0
    GROUP BY d.date, v.device
), everyone AS (
    SELECT date, device FROM seen
    UNION
    SELECT date, device FROM listed
), pairs AS (
    SELECT date, device, stream, sensor FROM readings
    UNION
    SELECT d.date, v.device, v.stream, s.sensor
    FROM days d CROSS JOIN devices v JOIN sensors s ON s.stream = v.stream
    WHERE d.seconds > 0
), due AS (
    SELECT p.date, p.device, total(array_agg(d.seconds / s.every ORDER BY p.stream, p.sensor)) AS expected
    FROM pairs p
    JOIN sensors s ON s.stream = p.stream AND s.sensor = p.sensor
    JOIN days d ON d.date = p.date
    WHERE s.every > 0
    GROUP BY p.date, p.device
), paced AS (
    SELECT r.date, r.device, count(*) AS readings
    FROM readings r JOIN sensors s ON s.stream = r.stream AND s.sensor = r.sensor
    WHERE s.every > 0
    GROUP BY r.date, r.device
), refused AS (
    SELECT o.date, o.device, CAST(sum(l.lines) AS bigint) AS rejected
    FROM (SELECT DISTINCT date, device, source FROM readings) o
    JOIN (SELECT source, count(*) AS lines FROM rejected GROUP BY source) l ON l.source = o.source
    GROUP BY o.date, o.device
)
SELECT
    e.date,
    coalesce(n.site, k.site, '') AS site,
    e.device,
    coalesce(n.readings, 0) AS readings,
    coalesce(n.sensors, 0) AS sensors,
    n.first_seen,
    n.last_seen,
    CASE
        WHEN n.last_seen IS NOT NULL THEN greatest(0e0, d.begins + d.seconds - to_unixtime(n.last_seen))
    END AS silent_seconds,
    u.expected,
    CASE WHEN u.expected > 0 THEN coalesce(p.readings, 0) / u.expected END AS completeness,
    CAST(n.out_of_range AS double) / n.readings AS out_of_range_share,
    coalesce(f.rejected, 0) AS rejected,
    CASE
        WHEN coalesce(n.readings, 0) + coalesce(f.rejected, 0) > 0
        THEN CAST(coalesce(f.rejected, 0) AS double) / (coalesce(n.readings, 0) + coalesce(f.rejected, 0))
    END AS rejected_share
FROM everyone e
JOIN days d ON d.date = e.date
LEFT JOIN seen n ON n.date = e.date AND n.device = e.device
LEFT JOIN listed k ON k.date = e.date AND k.device = e.device
LEFT JOIN due u ON u.date = e.date AND u.device = e.device
LEFT JOIN paced p ON p.date = e.date AND p.device = e.device
LEFT JOIN refused f ON f.date = e.date AND f.device = e.device
