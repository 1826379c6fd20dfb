-- Queries that both SQL engines must answer alike: the same columns, types, rows and errors, or the same refusal.
-- A name, then one statement. {readings} is a table expression of six readings (test_matrix.py).


--- division, modulo
-- int division
SELECT 7 / 2, -7 / 2, 7 / -2
-- int modulo
SELECT 7 % 3, -7 % 3, 7 % -3, mod(-7, 3)
-- int division by zero
SELECT 1 / (n - 1) FROM (VALUES 1) AS t(n)
-- int modulo by zero
SELECT 1 % (n - 1) FROM (VALUES 1) AS t(n)
-- double division
SELECT 7e0 / 2, 7 / 2e0, -7e0 / 2
-- double division by zero
SELECT 1e0 / 0, -1e0 / 0, 0e0 / 0 IS NULL
-- decimal division
SELECT 1.0 / 3, 10.00 / 4
-- decimal division of a column
SELECT CAST(value AS decimal(10,2)) / 3 FROM {readings}
-- division of a column
SELECT device, value / 2 AS half, n / 2 AS n_half, n / 4e0 AS quarter FROM {readings}
-- division of sums
SELECT sum(n) / count(*) AS mean, avg(n) AS average, sum(value) / count(value) AS v FROM {readings}
-- null division
SELECT 1 / CAST(NULL AS integer), CAST(NULL AS double) / 0
-- division chain
SELECT 1000 / 3 / 2 / 5, 1000e0 / 3 / 2 / 5

--- numbers
-- integer overflow
SELECT n + 1 FROM (VALUES 2147483647) AS t(n)
-- bigint overflow
SELECT n * 2 FROM (VALUES 9223372036854775807) AS t(n)
-- bigint minus overflow
SELECT -n - 2 FROM (VALUES 9223372036854775807) AS t(n)
-- bigint sum overflow
SELECT sum(n) FROM (VALUES 9223372036854775807, 1) AS t(n)
-- integer product
SELECT n * n FROM (VALUES 65536) AS t(n)
-- types of sums
SELECT sum(n), avg(n), count(*), min(n), max(n) FROM {readings}
-- abs and sign
SELECT abs(-3), abs(-3.5e0), sign(-2e0), abs(CAST(-5 AS bigint))
-- rounding
SELECT round(2.5e0), round(-2.5e0), round(0.5e0), round(1.25e0, 1), round(1234.567e0, -2)
-- floor and ceil
SELECT floor(-1.5e0), ceil(-1.5e0), ceiling(1.2e0), truncate(-1.7e0)
-- cast double to int
SELECT CAST(2.5e0 AS integer), CAST(3.5e0 AS integer), CAST(-2.5e0 AS bigint)
-- cast decimal to int
SELECT CAST(2.5 AS integer), CAST(-2.5 AS integer), CAST(1.4999 AS bigint)
-- cast out of range
SELECT CAST(n AS integer) FROM (VALUES 9223372036854775807) AS t(n)
-- cast too wide
SELECT CAST(n AS tinyint) FROM (VALUES 300) AS t(n)
-- powers and roots
SELECT power(2, 10), sqrt(2e0), cbrt(27e0), exp(1e0), ln(10e0), log10(1000e0)
-- log of two
SELECT log(2, 8e0)
-- log of one
SELECT log(100e0)
-- root of a negative
SELECT sqrt(v) FROM (VALUES -1e0) AS t(v)
-- greatest and least
SELECT greatest(1, 3, 2), least(1.5e0, 0.5e0), greatest('a', 'b')
-- greatest with null
SELECT greatest(1, CAST(NULL AS integer)), least(CAST(NULL AS integer), 2)
-- nan order
SELECT v FROM (VALUES nan(), 1e0, infinity()) AS t(v) ORDER BY v
-- nan equal
SELECT v = v, v > 1e0 FROM (VALUES nan()) AS t(v)
-- bits
SELECT bitwise_and(12, 10), bitwise_or(12, 10), bitwise_xor(12, 10)
-- bit operators
SELECT 12 & 10
-- power operator
SELECT 2 ^ 3
-- width bucket
SELECT width_bucket(5.3e0, 0e0, 10e0, 5)
-- random sample
SELECT count(*) FROM {readings} TABLESAMPLE BERNOULLI (100)

--- decimals
-- decimal sum
SELECT sum(d), min(d), max(d) FROM (VALUES CAST(1.10 AS decimal(5,2)), CAST(2.25 AS decimal(5,2))) AS t(d)
-- decimal add
SELECT 1.10 + 2.205, 1.5 * 2.25, 1.5 - 2
-- decimal literal
SELECT 0.1 + 0.2 = 0.3, 1.5, 0.10
-- decimal cast rounds
SELECT CAST(1.005 AS decimal(5,2)), CAST(1.015e0 AS decimal(5,2)), CAST('1.25' AS decimal(5,1))
-- decimal and double
SELECT 1.5 * 2e0, 1.5 + CAST(1 AS double), CAST(1.1 AS double)
-- decimal round
SELECT round(2.345, 2), floor(2.7), ceil(2.1)
-- decimal to text
SELECT CAST(1.50 AS varchar), CAST(CAST(1 AS decimal(5,2)) AS varchar)

--- casts to text and back
-- double to text
SELECT CAST(20e0 AS varchar), CAST(1.5e0 AS varchar), CAST(1e20 AS varchar)
-- int to text
SELECT CAST(42 AS varchar), CAST(-7 AS varchar)
-- bool to text
SELECT CAST(true AS varchar), CAST(false AS varchar)
-- timestamp to text
SELECT CAST(TIMESTAMP '2026-01-02 03:04:05' AS varchar)
-- instant to text
SELECT CAST(TIMESTAMP '2026-01-02 03:04:05 UTC' AS varchar)
-- date to text
SELECT CAST(DATE '2026-01-02' AS varchar)
-- text to int
SELECT CAST('42' AS integer), CAST('-7' AS bigint)
-- text to int with spaces
SELECT CAST(s AS integer) FROM (VALUES ' 42 ') AS t(s)
-- bad text to int
SELECT CAST(s AS integer) FROM (VALUES 'abc') AS t(s)
-- point text to int
SELECT CAST(s AS integer) FROM (VALUES '1.5') AS t(s)
-- text to double
SELECT CAST('1.5' AS double), CAST('1e3' AS double), CAST('NaN' AS double) IS NULL
-- bad text to double
SELECT CAST(s AS double) FROM (VALUES '1,5') AS t(s)
-- try cast
SELECT TRY_CAST('abc' AS integer), TRY_CAST('7' AS integer), TRY_CAST('x' AS date)
-- text to bool
SELECT CAST('true' AS boolean), CAST('f' AS boolean), CAST('1' AS boolean)
-- text to date
SELECT CAST('2026-02-28' AS date)
-- bad date
SELECT CAST(s AS date) FROM (VALUES '2026-02-30') AS t(s)
-- int to bool
SELECT CAST(1 AS boolean), CAST(0 AS boolean)
-- compare text with number
SELECT '1' = 1
-- number beside text
SELECT device || n FROM {readings}
-- short cast
SELECT '5'::integer, 1.5e0::double
-- varchar length
SELECT CAST('abcdef' AS varchar(3))
-- char pads
SELECT CAST('a' AS char(3)) = 'a', CAST('ab' AS char(4)) || 'x'

--- dates and times
-- date arithmetic
SELECT DATE '2026-01-31' + INTERVAL '1' DAY, DATE '2026-01-31' - INTERVAL '1' DAY
-- date plus month
SELECT DATE '2026-01-31' + INTERVAL '1' MONTH
-- date plus hour
SELECT DATE '2026-01-31' + INTERVAL '1' HOUR
-- date minus date
SELECT DATE '2026-03-01' - DATE '2026-02-01'
-- date plus number
SELECT DATE '2026-03-01' + 1
-- timestamp arithmetic
SELECT TIMESTAMP '2026-01-31 10:00:00' + INTERVAL '90' MINUTE
-- timestamp minus timestamp
SELECT TIMESTAMP '2026-01-31 10:00:00' - TIMESTAMP '2026-01-30 09:00:00'
-- interval compared
SELECT TIMESTAMP '2026-01-31 10:00:00' - TIMESTAMP '2026-01-30 09:00:00' > INTERVAL '1' DAY
-- interval of months
SELECT INTERVAL '14' MONTH
-- interval of days
SELECT INTERVAL '3' DAY, INTERVAL '36' HOUR
-- interval in words
SELECT INTERVAL '3 days'
-- interval product
SELECT 2 * INTERVAL '3' DAY
-- interval seconds
SELECT INTERVAL '1.5' SECOND
-- date trunc
SELECT date_trunc('hour', TIMESTAMP '2026-03-29 10:59:59'), date_trunc('month', DATE '2026-03-29')
-- date trunc week
SELECT date_trunc('week', DATE '2026-03-29'), date_trunc('week', TIMESTAMP '2026-03-29 10:00:00 UTC')
-- date trunc instant
SELECT date_trunc('day', ts) AS day, count(*) FROM {readings} GROUP BY 1 ORDER BY 1
-- date diff days
SELECT date_diff('day', TIMESTAMP '2026-01-01 23:00:00', TIMESTAMP '2026-01-02 01:00:00')
-- date diff months
SELECT date_diff('month', DATE '2026-01-31', DATE '2026-02-28')
-- date diff hours
SELECT date_diff('hour', TIMESTAMP '2026-01-01 10:59:00', TIMESTAMP '2026-01-01 11:01:00')
-- date diff weeks
SELECT date_diff('week', DATE '2026-01-01', DATE '2026-01-12')
-- date add
SELECT date_add('day', 3, DATE '2026-01-30'), date_add('month', 1, TIMESTAMP '2026-01-31 00:00:00')
-- extract
SELECT extract(year FROM DATE '2026-01-02'), extract(hour FROM TIMESTAMP '2026-01-02 03:04:05')
-- parts
SELECT year(ts), month(ts), day(ts), hour(ts), minute(ts) FROM {readings} ORDER BY ts
-- seconds
SELECT second(TIMESTAMP '2026-01-02 03:04:05.678'), extract(second FROM TIMESTAMP '2026-01-02 03:04:05.678')
-- day of week
SELECT day_of_week(DATE '2026-03-29'), extract(dow FROM DATE '2026-03-29')
-- week of year
SELECT week(DATE '2026-01-01'), extract(week FROM DATE '2027-01-01'), year_of_week(DATE '2027-01-01')
-- quarter
SELECT quarter(DATE '2026-05-01'), day_of_year(DATE '2026-05-01')
-- dow of sunday
SELECT dow(DATE '2026-03-29')
-- dayofweek
SELECT dayofweek(DATE '2026-03-29')
-- last day
SELECT last_day_of_month(DATE '2026-02-01')
-- from unix
SELECT from_unixtime(1767322445), to_unixtime(TIMESTAMP '2026-01-02 03:04:05 UTC')
-- epoch
SELECT epoch(TIMESTAMP '2026-01-02 03:04:05')
-- format date
SELECT date_format(TIMESTAMP '2026-01-02 03:04:05', '%Y-%m-%d %H:%i')
-- strftime
SELECT strftime(TIMESTAMP '2026-01-02 03:04:05', '%Y-%m-%d %H:%M')
-- parse date
SELECT date_parse('2026-01-02 03:04', '%Y-%m-%d %H:%i')
-- bad timestamp
SELECT CAST(s AS timestamp) FROM (VALUES '2026-01-02 25:00:00') AS t(s)
-- timestamp digits
SELECT CAST('2026-01-02 03:04:05.123456' AS timestamp(6)), TIMESTAMP '2026-01-02 03:04:05.123'
-- timestamp default digits
SELECT CAST('2026-01-02 03:04:05.123456' AS timestamp)
-- now is an instant
SELECT now() > TIMESTAMP '2026-01-01 00:00:00 UTC', current_date > DATE '2026-01-01'
-- local now
SELECT localtimestamp > TIMESTAMP '2026-01-01 00:00:00'
-- compare instant with date
SELECT count(*) FROM {readings} WHERE ts >= DATE '2026-03-29'
-- compare instant with local
SELECT count(*) FROM {readings} WHERE ts >= TIMESTAMP '2026-03-29 01:00:00'
-- compare instant with text
SELECT count(*) FROM {readings} WHERE ts >= '2026-03-29'
-- compare date with text
SELECT count(*) FROM (VALUES DATE '2026-03-29') AS t(d) WHERE d >= '2026-03-01'
-- instant to date
SELECT CAST(ts AS date) AS d, count(*) FROM {readings} GROUP BY 1 ORDER BY 1
-- instant to local
SELECT CAST(ts AS timestamp) FROM {readings} ORDER BY ts
-- date to instant
SELECT CAST(DATE '2026-03-29' AS timestamp with time zone)
-- between dates
SELECT count(*) FROM (VALUES DATE '2026-03-29') AS t(d) WHERE d BETWEEN DATE '2026-03-29' AND DATE '2026-03-29'

--- time zones and daylight saving
-- at time zone
SELECT ts AT TIME ZONE 'Europe/Berlin' FROM {readings} ORDER BY ts
-- local hour
SELECT hour(ts AT TIME ZONE 'Europe/Berlin') AS h, count(*) FROM {readings} GROUP BY 1 ORDER BY 1
-- local day
SELECT CAST(ts AT TIME ZONE 'Europe/Berlin' AS date) AS d, count(*) FROM {readings} GROUP BY 1 ORDER BY 1
-- local into gap
SELECT TIMESTAMP '2026-03-29 02:30:00' AT TIME ZONE 'Europe/Berlin'
-- with time zone
SELECT with_timezone(TIMESTAMP '2026-03-29 02:30:00', 'Europe/Berlin')
-- literal with zone
SELECT TIMESTAMP '2026-07-01 12:00:00 Europe/Berlin', TIMESTAMP '2026-07-01 12:00:00 +02:00'
-- instant over dst
SELECT TIMESTAMP '2026-03-29 00:30:00 UTC' + INTERVAL '1' DAY
-- local over dst
SELECT (TIMESTAMP '2026-03-28 12:00:00 Europe/Berlin' + INTERVAL '1' DAY) = TIMESTAMP '2026-03-29 12:00:00 UTC'
-- diff over dst
SELECT date_diff('hour', TIMESTAMP '2026-03-29 00:00:00 UTC', TIMESTAMP '2026-03-29 03:00:00 UTC')

--- null
-- null order up
SELECT v FROM (VALUES 2, NULL, 1) AS t(v) ORDER BY v
-- null order down
SELECT v FROM (VALUES 2, NULL, 1) AS t(v) ORDER BY v DESC
-- null order first
SELECT v FROM (VALUES 2, NULL, 1) AS t(v) ORDER BY v NULLS FIRST
-- null in
SELECT 1 IN (1, NULL), 2 IN (1, NULL), 2 NOT IN (1, NULL)
-- null compare
SELECT NULL = NULL, NULL IS DISTINCT FROM NULL, 1 IS DISTINCT FROM NULL
-- null concat
SELECT 'a' || NULL
-- concat with null
SELECT concat('a', CAST(NULL AS varchar), 'b')
-- concat ws
SELECT concat_ws('-', 'a', CAST(NULL AS varchar), 'b')
-- coalesce
SELECT coalesce(NULL, 2, 3), nullif(1, 1), nullif(1, 2)
-- if
SELECT if(true, 1, 2), if(CAST(NULL AS boolean), 1, 2)
-- null aggregates
SELECT sum(v), count(v), count(*), avg(v) FROM (VALUES CAST(NULL AS integer)) AS t(v)
-- empty aggregates
SELECT sum(v), count(*), min(v), max(v) FROM (VALUES 1) AS t(v) WHERE v > 1
-- group by null
SELECT unit, count(*) FROM {readings} GROUP BY unit ORDER BY unit
-- distinct null
SELECT DISTINCT unit FROM {readings}
-- count distinct
SELECT count(DISTINCT unit), count(DISTINCT device) FROM {readings}
-- null type
SELECT NULL AS nothing
-- array agg null
SELECT array_agg(v ORDER BY v) FROM (VALUES 2, NULL, 1) AS t(v)
-- empty array agg
SELECT array_agg(v) FROM (VALUES 1) AS t(v) WHERE v > 1
-- filter
SELECT count(*) FILTER (WHERE n > 2), sum(n) FILTER (WHERE n > 100) FROM {readings}
-- bool aggregates
SELECT bool_and(n > 0), bool_or(n > 5), every(n > 0) FROM {readings}

--- text
-- length unicode
SELECT length('äöü°C'), length('👍'), length('e' || chr(769))
-- upper unicode
SELECT upper('äöß'), lower('ÄÖÜ')
-- reverse
SELECT reverse('äbc'), substr('äöüx', 2, 2), substring('äöüx' FROM 3)
-- substr negative
SELECT substr('abcdef', -3), substr('abcdef', -3, 2)
-- substr zero
SELECT substr('abcdef', 0, 2)
-- strpos
SELECT strpos('äöü', 'ü'), strpos('abc', 'x'), position('b' IN 'abc')
-- order of text
SELECT v FROM (VALUES 'b', 'A', 'ä', 'Z', 'a') AS t(v) ORDER BY v
-- compare case
SELECT 'a' = 'A', 'a' < 'B'
-- like
SELECT 'abc' LIKE 'a_c', 'a%c' LIKE 'a\%c' ESCAPE '\', 'ABC' LIKE 'abc'
-- like backslash
SELECT 'a\c' LIKE 'a\c', 'a%c' LIKE 'a\%c'
-- ilike
SELECT 'ABC' ILIKE 'abc'
-- trim
SELECT trim('  a  ') || '|', ltrim('  a'), rtrim('a  ') || '|', trim(BOTH 'x' FROM 'xax')
-- pad
SELECT lpad('7', 3, '0'), rpad('ab', 4, 'x'), lpad('abcdef', 3, 'x')
-- replace
SELECT replace('aaa', 'a', 'b'), translate('abc', 'ab', 'xy')
-- split
SELECT split('a,b,c', ','), split_part('a,b,c', ',', 2), split_part('a,b', ',', 5)
-- regexp like
SELECT regexp_like('pi-12', '[0-9]+'), regexp_like('pi', '^[0-9]+$')
-- regexp extract
SELECT regexp_extract('pi-12', '([0-9]+)', 1), regexp_extract('pi', '[0-9]+')
-- regexp replace
SELECT regexp_replace('a1b22', '[0-9]+', '#')
-- regexp replace group
SELECT regexp_replace('ab12', '([a-z]+)([0-9]+)', '$2$1')
-- concat numbers
SELECT concat('n', CAST(1 AS varchar))
-- starts with
SELECT starts_with('abc', 'ab'), starts_with('abc', 'b')
-- chr and code
SELECT chr(228), codepoint('ä')
-- hex
SELECT to_hex(to_utf8('ä'))
-- hash
SELECT to_hex(md5(to_utf8('a')))
-- text md5
SELECT md5('a')
-- listagg
SELECT listagg(device, ',') WITHIN GROUP (ORDER BY device) FROM {readings}
-- string agg
SELECT string_agg(device, ',' ORDER BY device) FROM {readings}
-- format
SELECT format('%s is %d', 'a', 5)
-- levenshtein
SELECT levenshtein_distance('kitten', 'sitting')
-- double quotes
SELECT device AS "The Device" FROM {readings} WHERE n = 1
-- single quote
SELECT 'it''s', 'a"b'
-- unknown function
SELECT roudn(1e0)
-- unknown column
SELECT devcie FROM {readings}
-- ambiguous types
SELECT CASE WHEN true THEN 1 ELSE 1.5e0 END, CASE WHEN false THEN 1 ELSE 2 END
-- mixed case types
SELECT CASE WHEN true THEN 1 ELSE 'a' END

--- JSON
-- json extract
SELECT json_extract_scalar('{"a":{"b":5}}', '$.a.b'), json_extract_scalar('{"a":1}', '$.x')
-- json extract text
SELECT json_extract_scalar('{"a":"ä\"x"}', '$.a'), json_extract_scalar('{"a":true}', '$.a')
-- json extract object
SELECT json_extract('{"a": {"b": 5}}', '$.a')
-- json array
SELECT json_extract_scalar('[1,2,3]', '$[1]'), json_array_length('[1,2,3]')
-- json null
SELECT json_extract_scalar('{"a":null}', '$.a') IS NULL
-- json of nothing
SELECT json_extract_scalar('{"a":{"b":1}}', '$.a')
-- bad json
SELECT json_extract_scalar(s, '$.a') FROM (VALUES ('{')) AS t(s)
-- json arrow
SELECT '{"a":1}' -> 'a'
-- json double arrow
SELECT '{"a":1}' ->> 'a'
-- json parse
SELECT json_parse('{"a":1}')
-- json cast
SELECT CAST('{"a":1}' AS json)

--- arrays, maps, structs
-- array index
SELECT ARRAY[1,2,3][1], element_at(ARRAY[1,2,3], -1), element_at(ARRAY[1,2,3], 9)
-- array out of bounds
SELECT xs[n] FROM (VALUES (ARRAY[1,2,3], 9)) AS t(xs, n)
-- array functions
SELECT cardinality(ARRAY[1,2]), contains(ARRAY[1,2], 2), array_max(ARRAY[1,3,2]), array_distinct(ARRAY[1,1])
-- array sort
SELECT array_sort(ARRAY[3,NULL,1])
-- array concat
SELECT ARRAY[1] || ARRAY[2,3]
-- array join
SELECT array_join(ARRAY['a','b'], '-')
-- array slice
SELECT slice(ARRAY[1,2,3,4], 2, 2)
-- array position
SELECT array_position(ARRAY[5,6], 6), array_position(ARRAY[5,6], 7)
-- unnest
SELECT device, x FROM (VALUES ('a', ARRAY[1,2])) AS t(device, xs) CROSS JOIN UNNEST(xs) AS u(x) ORDER BY x
-- unnest ordinality
SELECT x, i FROM UNNEST(ARRAY['a','b']) WITH ORDINALITY AS u(x, i) ORDER BY i
-- sequence
SELECT sequence(1, 5), sequence(1, 10, 3)
-- transform
SELECT transform(ARRAY[1,2], x -> x * 2), filter(ARRAY[1,2,3], x -> x > 1)
-- reduce
SELECT reduce(ARRAY[1,2,3], 0, (s, x) -> s + x, s -> s)
-- map
SELECT element_at(MAP(ARRAY['a','b'], ARRAY[1,2]), 'b'), cardinality(MAP(ARRAY['a'], ARRAY[1]))
-- row
SELECT CAST(ROW(1, 'a') AS ROW(n integer, s varchar))

--- windows, grouping, joins, sets
-- row number
SELECT device, row_number() OVER (PARTITION BY device ORDER BY ts) AS r FROM {readings} ORDER BY 1, 2
-- rank
SELECT n, rank() OVER (ORDER BY device) AS r, dense_rank() OVER (ORDER BY device) AS d FROM {readings} ORDER BY n
-- lag
SELECT n, lag(value) OVER (ORDER BY ts) AS before, lead(n, 2, 0) OVER (ORDER BY ts) AS later FROM {readings} ORDER BY n
-- running sum
SELECT n, sum(n) OVER (ORDER BY n) AS s FROM {readings} ORDER BY n
-- rows frame
SELECT n, avg(value) OVER (ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS a FROM {readings} ORDER BY n
-- range frame
SELECT n, count(*) OVER (ORDER BY ts RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW) AS c FROM {readings} ORDER BY n
-- first value
SELECT n, first_value(value) OVER (ORDER BY ts) AS f, last_value(n) OVER (ORDER BY n) AS l FROM {readings} ORDER BY n
-- ignore nulls
SELECT n, last_value(value) IGNORE NULLS OVER (ORDER BY ts) AS l FROM {readings} ORDER BY n
-- ntile
SELECT n, ntile(3) OVER (ORDER BY n) AS t, percent_rank() OVER (ORDER BY n) AS p, cume_dist() OVER (ORDER BY n) AS c FROM {readings} ORDER BY n
-- qualify
SELECT device, n FROM {readings} QUALIFY row_number() OVER (PARTITION BY device ORDER BY n) = 1 ORDER BY 1
-- max by
SELECT device, max_by(value, ts) AS newest, min_by(n, ts) AS first FROM {readings} GROUP BY device ORDER BY 1
-- max by null
SELECT max_by(value, n) FROM {readings} WHERE n <= 3
-- any value
SELECT device, any_value(device) AS d, arbitrary(device) AS a FROM {readings} GROUP BY device ORDER BY 1
-- deviation
SELECT stddev(n), stddev_pop(n), var_samp(n), variance(n), corr(n, value) FROM {readings}
-- deviation of one
SELECT stddev(n), var_pop(n) FROM {readings} WHERE n = 1
-- median
SELECT median(n) FROM {readings}
-- approx distinct
SELECT approx_distinct(device) FROM {readings}
-- histogram
SELECT histogram(device) FROM {readings}
-- count if
SELECT count_if(n > 2) FROM {readings}
-- geometric
SELECT geometric_mean(n) FROM {readings} WHERE n > 0
-- grouping sets
SELECT device, unit, count(*) AS c FROM {readings} GROUP BY GROUPING SETS ((device), (unit), ()) ORDER BY 1, 2, 3
-- rollup
SELECT device, count(*) AS c, grouping(device) AS g FROM {readings} GROUP BY ROLLUP (device) ORDER BY 1
-- having
SELECT device FROM {readings} GROUP BY device HAVING count(*) > 2 ORDER BY 1
-- having alias
SELECT device, count(*) AS c FROM {readings} GROUP BY device HAVING c > 2
-- where alias
SELECT n * 2 AS m FROM {readings} WHERE m > 4
-- group by alias
SELECT upper(device) AS d, count(*) FROM {readings} GROUP BY d
-- group by all
SELECT device, count(*) AS c FROM {readings} GROUP BY ALL ORDER BY device
-- order by position
SELECT device, n FROM {readings} ORDER BY 2 DESC
-- left join
SELECT a.n, b.n AS next FROM {readings} a LEFT JOIN {readings} b ON b.n = a.n + 1 ORDER BY a.n
-- join using
SELECT device, count(*) AS c FROM {readings} JOIN (VALUES 'attic') AS d(device) USING (device) GROUP BY device
-- full join
SELECT a.v, b.v AS w FROM (VALUES 1, 2) AS a(v) FULL JOIN (VALUES 2, 3) AS b(v) ON a.v = b.v ORDER BY 1, 2
-- asof join
SELECT a.n FROM {readings} a ASOF JOIN {readings} b ON a.ts >= b.ts
-- lateral
SELECT n, m FROM {readings} CROSS JOIN LATERAL (SELECT n * 2 AS m) ORDER BY n
-- subquery
SELECT n FROM {readings} WHERE value = (SELECT max(value) FROM {readings})
-- two rows subquery
SELECT (SELECT n FROM {readings})
-- exists
SELECT EXISTS (SELECT 1 FROM {readings} WHERE n > 100)
-- union
SELECT 1 AS v UNION SELECT 1.5e0 ORDER BY v
-- except
SELECT v FROM (VALUES 1, 2, 2) AS t(v) EXCEPT SELECT 2
-- intersect
SELECT v FROM (VALUES 1, 2, 2) AS t(v) INTERSECT SELECT 2
-- limit
SELECT n FROM {readings} ORDER BY n LIMIT 2
-- offset
SELECT n FROM {readings} ORDER BY n OFFSET 4
-- limit offset
SELECT n FROM {readings} ORDER BY n LIMIT 2 OFFSET 1
-- offset limit
SELECT n FROM {readings} ORDER BY n OFFSET 1 LIMIT 2
-- fetch first
SELECT n FROM {readings} ORDER BY n FETCH FIRST 2 ROWS ONLY
-- star exclude
SELECT * EXCLUDE (value, ts) FROM {readings} ORDER BY n
-- recursive
WITH RECURSIVE t(n) AS (VALUES 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT sum(n) FROM t
-- values
VALUES (1, 'a'), (2, 'b')
-- from first
FROM {readings} SELECT n ORDER BY n
-- cte
WITH a AS (SELECT n FROM {readings}), b AS (SELECT n + 1 AS n FROM a) SELECT max(n) FROM b
-- case insensitive
SELECT DEVICE, Device FROM {readings} WHERE N = 1
-- duplicate columns
SELECT n, n FROM {readings} WHERE n = 1
-- trailing comma
SELECT 1, FROM {readings}
-- syntax
SELECT 1 FROM {readings} WHER n > 1
