-- As readings_hourly, for days: percentiles of hours cannot be put together to those of a day, so it reads readings.
WITH grouped AS (
    SELECT
        date,
        coalesce(site, '') AS site,
        device,
        sensor,
        max_by(unit, ts) FILTER (WHERE unit IS NOT NULL) AS unit,
        count(*) AS readings,
        min(value) AS min,
        max(value) AS max,
        min_by(value, ts) AS first,
        max_by(value, ts) AS last,
        array_agg(value ORDER BY ts, value) AS in_time,
        array_agg(value ORDER BY value) AS by_size,
        count(*) FILTER (WHERE quality = 'out_of_range') AS out_of_range,
        count(DISTINCT date_trunc('hour', ts)) AS hours
    FROM readings
    GROUP BY date, coalesce(site, ''), device, sensor
)
SELECT
    date,
    site,
    device,
    sensor,
    unit,
    readings,
    min,
    max,
    total(in_time) / readings AS mean,
    sqrt(squares(in_time, total(in_time) / readings) / readings) AS stddev,
    first,
    last,
    percentile_of(by_size, 0.5e0) AS p50,
    percentile_of(by_size, 0.95e0) AS p95,
    out_of_range,
    hours
FROM grouped
