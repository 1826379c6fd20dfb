"""Files as other programs write them: right, or refused with the cause and the way out; never silently wrong."""

# ruff: noqa: E501 - tables of cases
from __future__ import annotations

import gzip
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from homelab_platform.errors import HomelabError
from homelab_platform.readings.decode.mapping import Mapping
from homelab_platform.readings.sources.files import FilePlan, describe
from homelab_platform.readings.sources.shapes import shapes

CASES = Path(__file__).with_name("cases")
Reading = tuple[str, str, str, float]


def plan_of(path: Path, **known: object) -> FilePlan:
    (plan,) = describe([path], mapping=Mapping.parse(known) if known else None)
    return plan


def shown(plan: FilePlan) -> list[Reading]:
    """Time (minutes and below, UTC), device, sensor and value of each reading of the sample."""
    return [
        (datetime.fromtimestamp(row.ts / 1e6, UTC).strftime("%m-%dT%H:%M"), row.device, row.sensor, row.value)
        for _, row in plan.trial.rows
    ]


TEN = "11-20T10:00"
EXPECTED: dict[str, list[Reading]] = {
    "2026-11-20_sds011_sensor_4242.csv": [
        (TEN, "4242", "P1", 12.3), (TEN, "4242", "P2", 4.5), ("11-20T10:02", "4242", "P1", 13.1),
        ("11-20T10:02", "4242", "P2", 4.7)],
    "bom_melt.csv": [(TEN, "bom_melt", "temp", 21.5), (TEN, "bom_melt", "hum", 40)],
    "camel_wide.csv": [(TEN, "a", "temperature", 21.5), (TEN, "a", "humidity", 40), (TEN, "b", "temperature", 12.5),
                       (TEN, "b", "humidity", 60)],
    "comment_first.csv": [(TEN, "comment_first", "temp", 21.5)],
    "device_number.csv": [(TEN, "12", "temp", 21.5), (TEN, "13", "temp", 22.5)],
    "excel_bom_time.csv": [(TEN, "excel_bom_time", "temp", 21.5), ("11-20T10:01", "excel_bom_time", "temp", 21.6)],
    "excel_de.csv": [("10-25T02:30", "excel_de", "Temperatur", 21.5), ("10-25T02:40", "excel_de", "Temperatur", 21.6)],
    "excel_sep.csv": [(TEN, "excel_sep", "temp", 21.5)],
    "gz_garbage.ndjson.gz": [(TEN, "d", "t", 1)],
    "ha_history.csv": [(TEN, "sensor.kitchen_temp", "state", 21.4), ("11-20T10:02", "sensor.kitchen_temp", "state", 21.6),
                       ("11-20T10:02", "sensor.hall_temp", "state", 19)],
    "header_commas_in_quotes.csv": [(TEN, "header_commas_in_quotes", "temp, °C", 21.5),
                                    (TEN, "header_commas_in_quotes", "hum, %", 40),
                                    (TEN, "header_commas_in_quotes", "p, hPa", 1001)],
    "influx_annotated.csv": [(TEN, "pi-1", "env_temp", 21.5)],
    "latin1.csv": [(TEN, "latin1", "Temp °C", 21.5)],
    "nul.csv": [(TEN, "nul", "temp", 1), ("11-20T10:02", "nul", "temp", 2)],
    "open_quote.csv": [("11-20T10:01", "d", "t", 2), ("11-20T10:02", "d", "t", 3)],
    "own_date_column.csv": [(TEN, "d", "t", 1)],
    "pq_date32.parquet": [("11-20T00:00", "d", "t", 1)],
    "pq_decimal.parquet": [(TEN, "d", "t", 21.5), (TEN, "e", "t", 1234567890.12)],
    "spaces.csv": [(TEN, "d", "t", 1)],
    "tasmota.ndjson": [(TEN, "tasmota", "AM2301.Temperature", 21.2), (TEN, "tasmota", "AM2301.Humidity", 40.1)],
    "telegraf.ndjson": [("01-08T18:48", "pi", f'cpu_{field}{{cpu="cpu{n}"}}', value)
                        for n, field, value in ((0, "usage_idle", 90.1), (0, "usage_user", 2.2),
                                                (1, "usage_idle", 91.1), (1, "usage_user", 2.0))],
    "trailing_delim_rows.csv": [(TEN, "trailing_delim_rows", "temp", 21.5),
                                ("11-20T10:01", "trailing_delim_rows", "temp", 21.6)],
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_of_another_program_gives_exactly_its_readings(name: str) -> None:
    plan = plan_of(CASES / name)
    found = shown(plan)
    assert [reading[:3] for reading in found] == [reading[:3] for reading in EXPECTED[name]]
    assert [reading[3] for reading in found] == pytest.approx([reading[3] for reading in EXPECTED[name]])


def test_lines_that_are_lost_are_named_with_their_reason() -> None:
    refused = {
        one.line: one.reason for name in ("nul.csv", "open_quote.csv") for one in plan_of(CASES / name).trial.refused
    }
    assert refused[2] == "a quote that opens in this line is not closed"
    assert refused[3].startswith("NUL bytes")


def test_epoch_nanoseconds_keep_every_microsecond() -> None:
    plan = plan_of(CASES / "epoch_ns.csv")
    assert [row.ts % 1_000_000 for _, row in plan.trial.rows] == [123_456, 123_457, 999_999]


def test_the_hour_that_comes_twice_is_told_apart_by_order() -> None:
    plan = plan_of(CASES / "dst_end_local.csv", ts={"column": "time", "tz": "Europe/London"})
    times = [row.ts for _, row in plan.trial.rows]
    assert len(times) == len(set(times)) == 24
    assert times == sorted(times)
    assert {b - a for a, b in pairwise(times)} == {600_000_000}
    assert any("second pass" in note for note in plan.notes)
    with pytest.raises(HomelabError, match="--tz"):
        describe([CASES / "dst_end_local.csv"])


def test_a_local_time_that_clocks_skipped_is_refused_with_its_line() -> None:
    plan = plan_of(CASES / "dst_gap_local.csv", ts={"column": "time", "tz": "Europe/London"})
    assert [row.value for _, row in plan.trial.rows] == [1, 3]
    assert [(one.line, "does not exist in Europe/London" in one.reason) for one in plan.trial.refused] == [(3, True)]
    fixed = plan_of(CASES / "dst_gap_local.csv", ts={"column": "time", "tz": "+00:00"})
    assert len(fixed.trial.rows) == 3


def test_shelly_and_zigbee2mqtt_are_flattened_as_by_mqtt() -> None:
    shelly = {sensor: value for _, _, sensor, value in shown(plan_of(CASES / "shelly.ndjson"))}
    assert shelly == {"temperature": 20.94, "tmp.tC": 20.94, "tmp.tF": 69.68, "meters.0.power": 0, "meters.0.total": 8214,
                      "uptime": 123}  # fmt: skip
    plug = plan_of(CASES / "z2m.ndjson")
    assert [(s, v) for _, _, s, v in shown(plug)][:3] == [("battery", 93.5), ("humidity", 43.5), ("linkquality", 255)]
    assert {row.unit for _, row in plug.trial.rows if row.sensor == "humidity"} == {"%"}


PROGRAMS: dict[str, tuple[str, list[Reading]]] = {
    "netatmo": ('Name;Long;Lat;Modulename;Moduletype\n"Home";8.1;50.1;"Indoor";"Main"\n'
                'Timestamp;"Timezone : Europe/Berlin";Temperature;Humidity;CO2\n'
                '1792490400;"2026/10/20 12:00:00";21.5;45;600\n1792490700;"2026/10/20 12:05:00";21.6;45;610\n',
                [("10-20T10:00", "f", "Temperature", 21.5)]),
    "weewx": ("dateTime,usUnits,interval,barometer,outTemp\n1792490400,1,5,30.1,70.2\n1792490700,1,5,30.1,70.3\n",
              [("10-20T10:00", "f", "barometer", 30.1), ("10-20T10:00", "f", "outTemp", 70.2)]),
    "ecowitt": ("Time,Outdoor Temperature(℃),Outdoor Humidity(%)\n2026-10-20 10:00,4.5,80\n2026-10-20 10:05,4.6,80\n",
                [("10-20T10:00", "f", "Outdoor Temperature(℃)", 4.5)]),
    "purpleair-card": ("UTCDateTime,mac_address,firmware_ver,hardware,current_temp_f,pm2_5_atm\n"
                       "2026/10/20T10:00:00z,84:f3:eb:1:2:3,6.06b,2.0,71,4.5\n",
                       [("10-20T10:00", "84:f3:eb:1:2:3", "current_temp_f", 71)]),
    "purpleair": ("time_stamp,sensor_index,humidity,pm2.5_atm\n1792490400,77,40,4.5\n1792490400,78,41,5.5\n",
                  [("10-20T10:00", "77", "humidity", 40), ("10-20T10:00", "77", "pm2.5_atm", 4.5)]),
    "hobo": ('"Plot Title: garden"\n"#","Date Time, GMT-05:00","Temp, °C (LGR S/N: 10, SEN S/N: 10)","Host Connected"\n'
             "1,10/20/26 05:00:00 AM,21.5,\n2,10/20/26 05:05:00 AM,21.6,Logged\n",
             [("10-20T10:00", "f", "Temp, °C (LGR S/N: 10, SEN S/N: 10)", 21.5)]),
    "home-assistant-statistics": ("statistic_id,start,end,mean,min,max\nsensor.t,1792490400000,1792494000000,20.5,20,21\n",
                                  [("10-20T10:00", "sensor.t", "mean", 20.5), ("10-20T10:00", "sensor.t", "min", 20)]),
    "home-assistant-history": ('[[{"entity_id":"sensor.t","state":"20.5","last_changed":"2026-10-20T10:00:00+00:00",'
                               '"attributes":{"unit_of_measurement":"°C"}},{"entity_id":"sensor.t","state":"unknown",'
                               '"last_changed":"2026-10-20T10:01:00+00:00"}]]',
                               [("10-20T10:00", "sensor.t", "state", 20.5)]),
    "zigbee2mqtt-log": ("[2026-10-20 10:00:00] info: \tz2m: Logging to console\n[2026-10-20 10:00:01] info: \tz2m:mqtt: MQTT"
                        " publish: topic 'zigbee2mqtt/hall', payload '{\"temperature\":20.5,\"linkquality\":70}'\n",
                        [("10-20T10:00", "hall", "temperature", 20.5), ("10-20T10:00", "hall", "linkquality", 70)]),
    "esphome": ('{"id":"sensor-hall","state":"20.5 °C","value":20.5,"name":"Hall","time":"2026-10-20T10:00:00Z"}\n',
                [("10-20T10:00", "f", "sensor-hall", 20.5)]),
    "shelly-notify": ('{"src":"shelly1-ab","dst":"x","method":"NotifyStatus","params":{"ts":1792490400.5,'
                      '"switch:0":{"id":0,"apower":12.5}}}\n', [("10-20T10:00", "shelly1-ab", "switch:0.id", 0)]),
    "ecowitt-upload": ("PASSKEY,stationtype,dateutc,tempf,model\nABC,GW1000,2026-10-20 10:00:00,70.1,GW1000_Pro\n",
                       [("10-20T10:00", "GW1000_Pro", "tempf", 70.1)]),
    "#influxdb-cli": ("name,time,host,value\ncpu,1792490400000000000,pi,12.5\n", [("10-20T10:00", "pi", "cpu", 12.5)]),
    "#prometheus": ("# HELP up x\n# TYPE up gauge\nup{instance=\"pi:9100\",job=\"node\"} 1 1792490400000\n",
         [("10-20T10:00", "pi:9100", 'up{instance="pi:9100",job="node"}', 1)]),
}  # fmt: skip


@pytest.mark.parametrize("shape", PROGRAMS)
def test_well_known_programs_are_recognised_and_read(shape: str, tmp_path: Path) -> None:
    text, expected = PROGRAMS[shape]
    path = tmp_path / "f.txt"
    path.write_text(text, encoding="utf-8")
    plan = plan_of(path)
    assert plan.shape == shape.partition("#")[0]
    assert shown(plan)[: len(expected)] == expected


def test_every_shape_that_is_shipped_has_a_file_here() -> None:
    tested = {*PROGRAMS, *(plan_of(CASES / name).shape for name in EXPECTED)}
    tested |= {plan_of(CASES / name).shape for name in ("shelly.ndjson", "z2m.ndjson")}
    assert {shape.name for shape in shapes()} <= tested


def test_line_protocol_is_read_with_its_tags(tmp_path: Path) -> None:
    path = tmp_path / "f.lp"
    path.write_text(
        "weather,host=pi\\ 1,room=hall temperature=21.5,humidity=40i,note=\"a b\" 1792490400123456789\nbroken line\n"
        "°C,domain=sensor,entity_id=hall value=20.5 1792490400000000000\n", encoding="utf-8")  # fmt: skip
    plan = plan_of(path)
    assert sorted(shown(plan)) == [
        ("10-20T10:00", "pi 1", 'weather_humidity{room="hall"}', 40),
        ("10-20T10:00", "pi 1", 'weather_temperature{room="hall"}', 21.5),
        ("10-20T10:00", "sensor.hall", "state", 20.5),
    ]
    assert [one.line for one in plan.trial.refused] == [2]


@pytest.mark.parametrize(
    ("content", "devices"),
    [
        ("time,tag,value\n2026-10-20T10:00:00Z,a,1\n2026-10-20T10:00:00Z,b,2\n", {("f", "a"), ("f", "b")}),
        ("time,topic,temp,hum\n2026-10-20T10:00:00Z,a,1,2\n2026-10-20T10:00:00Z,b,3,4\n",
         {("a", "temp"), ("a", "hum"), ("b", "temp"), ("b", "hum")}),
        ("time,room,temp\n2026-10-20T10:00:00Z,attic,1\n2026-10-20T10:00:00Z,hall,2\n", {("attic", "temp"), ("hall", "temp")}),
        ("time,Fühler,temp\n2026-10-20T10:00:00Z,oben,1\n2026-10-20T10:00:00Z,unten,2\n", {("oben", "temp"), ("unten", "temp")}),
        ("date,hour,temp\n2026-10-20,10,1\n2026-10-20,11,2\n", {("f", "temp")}),
        ('{"time":"2026-10-20T10:00:00Z","id":7,"temp":1}\n{"time":"2026-10-20T10:00:00Z","id":8,"temp":2}\n',
         {("7", "temp"), ("8", "temp")}),
        ('{"ts":"2026-10-20T10:00:00Z","device":7,"sensor":"t","value":1}\n', {("7", "t")}),
    ],
)  # fmt: skip
def test_whatever_tells_devices_apart_is_used(tmp_path: Path, content: str, devices: set[tuple[str, str]]) -> None:
    path = tmp_path / "f.csv"
    path.write_text(content, encoding="utf-8")
    plan = plan_of(path)
    assert {(row.device, row.sensor) for _, row in plan.trial.rows} == devices
    assert not plan.trial.collisions
    assert not plan.trial.refused


def test_records_that_nothing_tells_apart_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("time,temp\n2026-10-20T10:00:00Z,1\n2026-10-20T10:00:00Z,2\n", encoding="utf-8")
    with pytest.raises(HomelabError, match=r"two values \(1 and 2\).*lines 2 and 3.*--map device=COLUMN"):
        describe([path])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("packed", [False, True])
def test_encoding_and_separator_make_no_difference(tmp_path: Path, encoding: str, separator: str, packed: bool) -> None:
    table = [["Zeit", "Gerät", "Größe, °C"], ["20.10.2026 12:00", "Küche", "21.5"], ["20.10.2026 12:10", 'a"b', "-3"]]
    quoted = "".join(separator.join('"' + cell.replace('"', '""') + '"' for cell in row) + "\r\n" for row in table)
    data = quoted.encode(encoding)
    path = tmp_path / "f"
    path.write_bytes(gzip.compress(data) if packed else data)
    assert shown(plan_of(path)) == [
        ("10-20T12:00", "Küche", "Größe, °C", 21.5),
        ("10-20T12:10", 'a"b', "Größe, °C", -3),
    ]
