-- What `readings` and the functions total, squares and percentile_of are: docs/marts.md.
-- Sums go over values in order of time: the order in which doubles are added must not depend on how files lie or are
-- read, or a day computed twice would differ in the last digit.
WITH grouped AS (
    SELECT
        date,
        date_trunc('hour', ts) AS hour,
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
        count(*) FILTER (WHERE quality = 'out_of_range') AS out_of_range
    FROM readings
    GROUP BY date, date_trunc('hour', ts), coalesce(site, ''), device, sensor
)
SELECT
    date,
    hour,
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
    out_of_range
FROM grouped
