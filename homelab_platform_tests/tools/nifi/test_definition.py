"""Flow definitions: what they may be made of, and how a running flow is said to differ from one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from homelab_platform import paths
from homelab_platform.catalog.load import load_catalogue
from homelab_platform.errors import HomelabError
from homelab_platform.lab.check import load_resolved
from homelab_platform.plan.values import values_of
from homelab_platform.servers import nifi
from homelab_platform.servers.install import nifi as nifi_install
from homelab_platform.tools.nifi import definition as nifi_definition
from homelab_platform.tools.nifi.flows import FlowSpec, Mark, same_secret, secret_mark

LAB = """\
version: 1
lab: values
domain: lab.example.org
network: {lan: 192.168.7.0/24, gateway: 192.168.7.1, load_balancers: 192.168.7.200-210}
hosts:
  pi: {board: pi5-8gb, os: raspios, address: 192.168.7.10, k3s: server, disks: {ssd: 250Gi}}
workloads:
  traefik:
  metallb:
  minio:
  nifi:
"""
SOURCES = nifi_definition.sources()


@pytest.mark.parametrize("source", SOURCES)
def test_a_definition_uses_only_bundles_that_our_server_and_the_full_image_both_have(source: str) -> None:
    """All of upstream's bundles are in the image; these are the ones of them that the server here is made of too."""
    here = {a.name for a in nifi_install.locked() if a.kind == "nar"} | {"nifi-standard-nar", "python-extensions"}
    contents = nifi_definition.load(source)["flowContents"]
    for one in (*contents["processors"], *contents["controllerServices"]):
        bundle = one["bundle"]
        assert bundle["group"] == "org.apache.nifi"
        assert bundle["artifact"] in here, one["name"]
        if bundle["artifact"] == "python-extensions":
            assert paths.project_path("nifi", "extensions", f"{one['type']}.py").is_file()
        else:
            assert bundle["version"] == nifi_install.VERSION


@pytest.mark.parametrize("source", SOURCES)
def test_a_definition_holds_no_secret_and_listens_where_it_is_told(source: str) -> None:
    definition = nifi_definition.load(source)
    for name, parameter in nifi_definition.declared(definition).items():
        assert parameter["description"], name
        assert not (parameter["sensitive"] and parameter.get("value")), name
    for processor in definition["flowContents"]["processors"]:
        if processor["type"].endswith("HandleHttpRequest"):
            assert processor["properties"]["Hostname"] == "#{http.address}"


@pytest.mark.parametrize("source", SOURCES)
def test_a_definition_is_no_different_from_itself(source: str) -> None:
    contents = nifi_definition.load(source)["flowContents"]
    assert nifi_definition.compare(contents, copy.deepcopy(contents), {}) == []


def changed(source: str = "http", **properties: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """A definition's contents, and the same with other properties of its processor `store`."""
    contents = nifi_definition.load(source)["flowContents"]
    running = copy.deepcopy(contents)
    next(one for one in running["processors"] if one["name"] == "store")["properties"] |= properties
    return contents, running


def test_differences_are_lines_that_a_person_understands() -> None:
    contents, running = changed(Bucket="elsewhere", Endpoint_URL=None)
    running["connections"][0]["backPressureObjectThreshold"] = 5
    running["processors"] = [one for one in running["processors"] if one["name"] != "answer"]
    lines = [one.line for one in nifi_definition.compare(contents, running, {})]
    assert "processor store: Bucket is elsewhere, not #{s3.bucket}" in lines
    assert "processor store: Endpoint URL is empty, not #{s3.endpoint}" in lines
    assert "processor answer is missing" in lines
    assert "connection receive → wait (success): back-pressure objects is 5, not 4000" in lines


def test_a_property_that_a_newer_nifi_spells_otherwise_is_the_same_property() -> None:
    contents = nifi_definition.load("http")["flowContents"]
    running = copy.deepcopy(contents)
    properties = next(one for one in running["processors"] if one["name"] == "receive")["properties"]
    properties["Container Queue Size"] = properties.pop("container-queue-size")
    assert nifi_definition.compare(contents, running, {}) == []


def test_a_property_beyond_the_definition_counts_unless_it_is_the_default() -> None:
    contents, running = changed(Colour="red")
    assert [one.line for one in nifi_definition.compare(contents, running, {})] == [
        "processor store: Colour was set to red by hand"
    ]
    assert nifi_definition.compare(contents, running, {"processor store": {"colour": "red"}}) == []


def test_a_parameter_without_a_value_or_without_a_place_is_named() -> None:
    with pytest.raises(HomelabError, match=r"no value for .*s3\.bucket.*it knows no colour"):
        FlowSpec("env", "http", {"colour": "red"}).definition()


def test_a_definition_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nifi" / "flows").mkdir(parents=True)
    (tmp_path / "nifi" / "flows" / "http.json").write_text("{")
    monkeypatch.setenv("HOMELAB_PROJECT", str(tmp_path))
    with pytest.raises(HomelabError, match=r"http\.json: is no flow definition"):
        nifi_definition.load("http")
    with pytest.raises(HomelabError, match="there is no flow definition for pigeon"):
        nifi_definition.load("pigeon")


def test_a_mark_survives_what_people_write_beside_it_and_tells_secrets_apart() -> None:
    mark = Mark("flow/env", "abc", {"token": secret_mark("hush")}, "env-1.json")
    assert Mark.read(f"a note\n{mark.text()}\n{{not json") == mark
    assert Mark.read("a note") is None
    assert same_secret(mark.secrets["token"], "hush")
    assert not same_secret(mark.secrets["token"], "Hush")
    assert not same_secret("", "")
    assert "hush" not in mark.text()


def test_the_image_is_given_every_processor_and_module_of_ours(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(LAB)
    catalogue = load_catalogue()
    lab = load_resolved(tmp_path / "lab.yaml", catalogue)
    found = values_of(lab, lab.workloads["nifi"], catalogue.entries.get("nifi"), tmp_path)
    nifi.copy_extensions(tmp_path / "here")
    there = {Path(place).name: content for place, content in found["config"].items() if place.endswith(".py")}
    assert there == {file.name: file.read_text() for file in (tmp_path / "here").glob("*.py")}
    assert found["env"]["NIFI_WEB_PROXY_HOST"].startswith("nifi.")
