"""The lab file's `backups:`, `patching:`, `alerts:`, `logs:` and `tasks:` sections.

Belongs here: what must happen again and again, and who hears of it.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from homelab_platform.lab import calendar as cal
from homelab_platform.lab import quantities as q
from homelab_platform.lab.model.fields import (
    Blackout,
    Cron,
    Duration,
    Many,
    Name,
    Named,
    Node,
    PatchWindow,
    Secret,
    Size,
    TimeOfDay,
)

_SCHEMES = ("ssh", "s3", "smb", "nfs", "file", "usb", "b2")


def _target_url(value: object) -> str:
    text = value if isinstance(value, str) else ""
    scheme, _, rest = text.partition("://")
    if not rest or scheme not in _SCHEMES:
        raise q.Bad(
            f"{q.shown(value)} is not a place for backups",
            "Write ssh://user@host/path, s3://bucket@provider, smb://host/share, nfs://host/path, file:///path or "
            "usb://LABEL.",
        )
    if ":" in rest.split("@")[0] and "@" in rest and scheme in ("ssh", "smb"):
        raise q.Bad("this address carries a password", "Leave it out and give `password:` as a reference.")
    return text


class Target(Node):
    """A place that backups go to, or in short its address."""

    short: ClassVar[str | None] = "url"
    url: Annotated[str, BeforeValidator(_target_url)] = Field(
        description="Address.", examples=["ssh://backup@192.168.0.10/volume1/lab", "s3://lab-backup@b2"]
    )
    key: Secret | None = Field(None, description="Reference to the access key or SSH key.")
    secret: Secret | None = Field(None, description="Reference to the secret key.")
    password: Secret | None = Field(None, description="Reference to the password that encrypts backups there.")
    endpoint: str | None = Field(None, description="S3 endpoint, where the provider's name does not say it.")
    region: str | None = Field(None, description="S3 region.")
    capacity: Size | None = Field(None, description="How much it holds, for the forecast.")
    object_lock: bool = Field(False, description="Whether it refuses deletion (ransom safety).")


def _keep(value: object) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        raise q.Bad(f"{value} has no unit", f"Write {value}d, or {{daily: {value}}}.")
    if isinstance(value, str):
        seconds = q.duration(value)
        return {"daily": max(1, round(seconds / 86_400))}
    return value


class BackupKeep(Node):
    """How many are kept, or in short for how long the daily ones are."""

    hourly: Annotated[int, Field(ge=0)] = Field(0, description="Hourly ones.")
    daily: Annotated[int, Field(ge=0)] = Field(0, description="Daily ones.")
    weekly: Annotated[int, Field(ge=0)] = Field(0, description="Weekly ones.")
    monthly: Annotated[int, Field(ge=0)] = Field(0, description="Monthly ones.")
    yearly: Annotated[int, Field(ge=0)] = Field(0, description="Yearly ones.")

    @classmethod
    def from_short(cls, value: object) -> Any:
        """`keep: 7d`."""
        return _keep(value)

    @classmethod
    def short_schemas(cls, full: dict[str, object]) -> list[dict[str, Any]]:
        """One duration."""
        return [{"type": "string", "examples": ["7d"]}]


def _weekday(value: object) -> int:
    return cal.weekday(value if isinstance(value, str) else q.shown(value))


Weekday = Annotated[int, BeforeValidator(_weekday), Field(json_schema_extra={"type": "string", "enum": list(cal.DAYS)})]


class BackupPlan(Node):
    """When something is saved, where to, how long it is kept and how often it is proven by a drill."""

    at: TimeOfDay = Field("02:30", description="Time of day in the lab's time zone.", examples=["02:30"])
    every: Literal["hourly", "daily", "weekly", "monthly"] = Field("daily", description="How often.")
    day: Weekday | None = Field(None, description="Day of a weekly plan.", examples=["Sunday"])
    cron: Cron | None = Field(None, description="A cron line instead of `at` and `every`.")
    keep: BackupKeep = Field(BackupKeep.model_construct(daily=7), description="How many are kept.", examples=["7d"])
    drill: Literal["daily", "weekly", "monthly", "never"] = Field("weekly", description="How often one is restored.")
    to: Many[Name] | None = Field(None, description="Targets; all when not said.")
    what: Many[str] | None = Field(
        None,
        description="Items (workload/postgresql, host/nas, bucket/raw, cluster); all that hold state when not said.",
    )
    but: Many[str] = Field((), description="Items to leave out.")


class Backups(Node):
    """`to:` names the places; every other key is a plan."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, BackupPlan]
    to: Named[Target] = Field({}, description="Places that backups go to, by name.")
    engine: Literal["restic", "velero", "rsync"] = Field("restic", description="Tool for files and volumes.")
    password: Secret | None = Field(None, description="Reference to the password that encrypts all backups.")

    @model_validator(mode="after")
    def _names(self) -> Backups:
        for name in self.plans:
            q.name(name)
        return self

    @property
    def plans(self) -> dict[str, BackupPlan]:
        """The plans by name."""
        return self.__pydantic_extra__ or {}


class Patching(Node):
    """When hosts are updated and what must hold before the next one is touched."""

    window: PatchWindow | None = Field(None, description="When.", examples=["first Sunday 03:00-06:00"])
    canary: Name | None = Field(None, description="Host that goes first.")
    order: Many[Name] = Field((), description="Hosts in order; canary, agents, servers, others when not said.")
    blackout: Many[Blackout] = Field((), description="Dates without patching.")
    drain_timeout: Duration = Field(600, description="How long pods may take to leave a node.", examples=["10m"])
    health: Many[str] = Field(("ssh", "node-ready", "workloads"), description="Checks before the next host.")
    settle: Duration = Field(120, description="How long a host must stay healthy.", examples=["2m"])
    reboot: Literal["when-needed", "always", "never"] = Field("when-needed", description="Whether hosts are rebooted.")
    k3s: Literal["manual", "patch", "minor"] = Field("manual", description="How far k3s goes by itself.")
    backup_first: bool = Field(True, description="Whether a fresh proven backup must exist.")


class Ntfy(Node):
    """An ntfy topic, or in short its address."""

    short: ClassVar[str | None] = "url"
    url: str = Field(description="Address of the topic.")
    token: Secret | None = Field(None, description="Reference to a token.")


class Email(Node):
    """E-mail, or in short the addressee."""

    short: ClassVar[str | None] = "to"
    to: Many[str] = Field(description="Addressees.")
    server: str | None = Field(None, description="SMTP server and port.")
    user: str | None = Field(None, description="User.")
    password: Secret | None = Field(None, description="Reference to the password.")


class Alerts(Node):
    """Who hears of trouble, and how."""

    email: Email | None = Field(None, description="E-mail.")
    ntfy: Ntfy | None = Field(None, description="Push by ntfy.")
    webhook: Secret | None = Field(None, description="Reference to the address of a webhook.")
    home_assistant: Secret | None = Field(None, description="Reference to a Home Assistant webhook.")
    dead_mans_switch: Secret | None = Field(
        None, description="Reference to an address that misses us when we are gone."
    )
    quiet: Annotated[str, Field(pattern=r"^\d\d:\d\d-\d\d:\d\d$")] | None = Field(
        None, description="Hours without pushes."
    )


class Logs(Node):
    """How long logs are kept, or in short the duration."""

    short: ClassVar[str | None] = "keep"
    keep: Duration = Field(30 * 86_400, description="Age at which they go.", examples=["30d"])
    to: Many[Name] = Field((), description="Workloads that gather them, such as elasticsearch or loki.")


class Task(Node):
    """Something that a person must do or that the platform observes, or in short its title."""

    short: ClassVar[str | None] = "title"
    title: str = Field(description="What is to be done.")
    phase: Annotated[int, Field(ge=1, le=99)] | None = Field(None, description="Phase of the build-up.")
    status: Literal["backlog", "in-progress", "completed"] = Field("backlog", description="For what nothing observes.")
    by: Name | None = Field(None, description="Who does it.")
    done_when: Many[str] = Field((), description="Assets that prove it done, such as host/pi-1.")
    needs: Many[Name] = Field((), description="Tasks that come before.")
    notes: str | None = Field(None, description="Anything else.")
