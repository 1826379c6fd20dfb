"""What people write for sizes, times, addresses and names, and how it is read.

Belongs here: pure readers of one scalar; each returns a plain value or raises `Bad` with what is wrong and the way
out. Not here: pydantic types made of them (fields.py), calendar words (calendar.py).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

KI = 1024
_SIZE_UNITS = {"Ki": KI, "Mi": KI**2, "Gi": KI**3, "Ti": KI**4, "Pi": KI**5}
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)(Ki|Mi|Gi|Ti|Pi)")
_DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d|w|y)")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SENSOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
SECRET_REFERENCE = re.compile(r"(?:sops|vault):[^#\s]+#\S+|env:[A-Za-z_][A-Za-z0-9_]*|file:(?!//)\S+")
"""How a reference to a secret is written; `file://…` is an address. `vault:` is read so that a rule can refuse it."""
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_VERSION = re.compile(r"v?\d+(?:\.\d+)*(?:[-+][0-9A-Za-z.+-]+)?")
_DOMAIN = re.compile(r"(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
REFERENCES = "sops:secrets/NAME.yaml#key, env:NAME or file:path"


class Bad(ValueError):
    """A value that cannot be read: `what` is wrong and the `remedy`."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def shown(value: object) -> str:
    """The value as a person typed it, short enough for one line."""
    text = {None: "nothing", True: "true", False: "false"}.get(value) if isinstance(value, (bool, type(None))) else None
    text = text if text is not None else value if isinstance(value, str) else repr(value)
    if isinstance(value, (dict, list, tuple)):
        text = "a mapping" if isinstance(value, dict) else "a list"
    return text if len(text) <= 60 else text[:57] + "…"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that somebody who typed `word` most likely meant; None when nothing is near."""
    from rapidfuzz import process
    from rapidfuzz.distance import DamerauLevenshtein, JaroWinkler

    folded = {k.lower().replace("_", "-"): k for k in sorted(known)}
    asked = word.lower().replace("_", "-")[:100]
    if asked in folded:
        return folded[asked]
    close = process.extractOne(asked, list(folded), scorer=DamerauLevenshtein.normalized_similarity, score_cutoff=0.6)
    if close:
        return folded[close[0]]
    alike = process.extractOne(asked, [k for k in folded if k[:3] == asked[:3]], scorer=JaroWinkler.similarity)
    if alike and alike[1] >= 0.75:
        return folded[alike[0]]
    longer = [k for k in folded if len(asked) >= 3 and (k.startswith(asked) or (asked.startswith(k) and len(k) >= 3))]
    return folded[longer[0]] if longer else None


def did_you_mean(word: str, known: Iterable[str], what: str = "") -> str:
    """'Did you mean x?' or the list of what there is."""
    words = sorted(known)
    near = nearest(word, words)
    if near:
        return f"Did you mean {near}?"
    listed = ", ".join(words[:30]) + (", …" if len(words) > 30 else "")
    return f"{what or 'One of'}: {listed}." if words else ""


def _text(value: object, like: str) -> str:
    if not isinstance(value, str):
        raise Bad(f"{shown(value)} is not {like}", f"Write {like}.")
    return value.strip()


def size(value: Any) -> int:
    """Bytes of '20Gi', '512Mi', '1.5Ti' (binary units only, as Kubernetes reads them)."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value <= 0:
            raise Bad(f"{value} is not a size", "Write a size above zero, such as 20Gi.")
        raise Bad(f"{value} has no unit", f"Say of what: {value}Mi, {value}Gi.")
    text = _text(value, "a size such as 20Gi")
    match = _SIZE.fullmatch(text)
    if not match:
        raise Bad(f"{shown(text)} is not a size", _size_remedy(text))
    number = float(match[1]) * _SIZE_UNITS[match[2]]
    if number < 1:
        raise Bad(f"{text} is nothing", "Write a size above zero, such as 20Gi.")
    return int(number)


def _size_remedy(text: str) -> str:
    guess = re.fullmatch(r"\s*([\d.]+)\s*([kmgtp])i?b?\s*", text, re.IGNORECASE)
    if guess:
        return f"Write {guess[1].rstrip('.')}{guess[2].upper()}i."
    return "Write a number and a unit without a space: 512Mi, 20Gi, 1Ti."


def show_size(count: int) -> str:
    """The shortest exact way to write a number of bytes: 21474836480 → 20Gi."""
    for unit, factor in reversed(_SIZE_UNITS.items()):
        if count >= factor and count * 1000 % factor == 0:
            number = count / factor
            return f"{number:g}{unit}" if number < 10_000 else f"{count // factor}{unit}"
    return f"{count}"


def duration(value: object) -> int | float:
    """Seconds of '10s', '15m', '1h30m', '30d', '2w', '1y' (365 days) or '500ms'."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise Bad(f"{value} has no unit", f"Say of what: {value}s, {value}m, {value}h, {value}d.")
    text = _text(value, "a duration such as 30d")
    parts = _DURATION.findall(text)
    if not parts or "".join(n + u for n, u in parts) != text:
        guess = re.fullmatch(r"(\d+)\s*(s|m|h|d|w|y)(?:ec|ecs|econds?|in|ins|inutes?|rs?|ours?|ays?|eeks?|ears?)", text)
        unit = f"Write {guess[1]}{guess[2]}." if guess else "Write a number and a unit: 10s, 15m, 12h, 30d, 2w, 1y."
        raise Bad(f"{shown(text)} is not a duration", unit)
    seconds = sum(int(n) * (_DURATION_UNITS[u] if u != "ms" else 0.001) for n, u in parts)
    if seconds <= 0:
        raise Bad(f"{text}: a duration must be greater than 0", "Write 30d, for example.")
    if seconds > 1000 * _DURATION_UNITS["y"]:
        raise Bad(f"{text} is more than a thousand years", "Leave it out to keep for ever.")
    return int(seconds) if seconds == int(seconds) else seconds


def show_duration(seconds: float) -> str:
    """The shortest exact way to write a duration: 2592000 → 30d."""
    for unit in ("y", "d", "h", "m"):
        if seconds >= _DURATION_UNITS[unit] and seconds % _DURATION_UNITS[unit] == 0:
            return f"{int(seconds // _DURATION_UNITS[unit])}{unit}"
    return f"{int(seconds) if seconds == int(seconds) else seconds}s"


def cpu(value: object) -> int:
    """Millicores of '500m', 2 or 0.5."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        cores = float(value)
    else:
        text = _text(value, "a number of cores such as 500m or 2")
        match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)(m?)", text)
        if not match:
            raise Bad(f"{shown(text)} is not a number of cores", "Write cores or thousandths of one: 2, 0.5, 500m.")
        cores = float(match[1]) / (1000 if match[2] else 1)
    if not 0 < cores <= 100_000:
        raise Bad(f"{shown(value)} is not a number of cores", "Write cores or thousandths of one: 2, 0.5, 500m.")
    return max(1, round(cores * 1000))


def name(value: Any) -> str:
    """A name of a host, workload, person …: a DNS label (RFC 1123), so that it can be a hostname everywhere."""
    if value is None:
        raise Bad("missing name", "Write one, or leave the key out.")
    text = value.strip() if isinstance(value, str) else shown(value)
    if _NAME.fullmatch(text):
        return text
    if len(text) > 63:
        raise Bad(
            f"the name {shown(text)} has {len(text)} characters", "A name has at most 63 (it becomes a DNS name)."
        )
    better = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    hint = f" Write {better}." if better else ""
    raise Bad(
        f"{shown(text) or 'an empty text'} cannot be a name",
        f"Names are DNS labels: lower-case letters, digits and hyphens inside.{hint}",
    )


def sensor_name(value: object) -> str:
    """A sensor's name as its producer writes it: letters, digits and `_ . -` inside, at most 64 characters."""
    text = _text(value, "temperature") if isinstance(value, str) else str(value)
    if _SENSOR.fullmatch(text):
        return text
    raise Bad(
        f"{shown(text) or 'an empty text'} cannot be a sensor's name",
        "Use the name that the readings carry: letters, digits, _ . or -, at most 64, starting with a letter or digit.",
    )


def domain(value: object) -> str:
    """A DNS name in lower case, without the final dot."""
    text = _text(value, "a domain such as lab.example.org").rstrip(".").lower()
    if not _DOMAIN.fullmatch(text):
        raise Bad(f"{shown(value)} is not a domain", "Write a DNS name such as lab.example.org.")
    return text


def secret(value: object) -> str:
    """A reference to a secret; the secret itself is refused and never repeated in the message."""
    text = value if isinstance(value, str) else ""
    if SECRET_REFERENCE.fullmatch(text):
        return text
    near = re.match(r"(sops|vault):", text)
    if near:
        raise Bad(f"this {near[1]} reference names no key", f"End it with #key: {near[1]}:path#key.")
    raise Bad("a secret stands here in plain text", f"Put it away and refer to it: {REFERENCES}.")


def mac(value: object) -> str:
    """A MAC address in lower case with colons."""
    text = _text(value, "a MAC address such as d8:3a:dd:00:00:01").lower().replace("-", ":")
    if not _MAC.fullmatch(text):
        raise Bad(f"{shown(value)} is not a MAC address", "Write six pairs: d8:3a:dd:00:00:01.")
    return text


def version(value: Any) -> str:
    """A version such as v1.33.4+k3s1 or 5.4.0; numbers are refused, for 1.30 would become 1.3."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise Bad("this version was read as a number", "Put it in quotes, or 1.30 becomes 1.3.")
    text = _text(value, "a version")
    if not _VERSION.fullmatch(text):
        raise Bad(f"{shown(text)} is not a version", "Write it as its project does: v1.33.4+k3s1, 5.4.0.")
    return text


def time_of_day(value: object) -> str:
    """'HH:MM', 24 hours."""
    text = _text(value, "a time such as '02:30'")
    if re.fullmatch(r"\d:[0-5]\d", text):
        text = f"0{text}"
    if not _TIME.fullmatch(text):
        raise Bad(f"{shown(text)} is not a time of day", "Write hours and minutes: '02:30'.")
    return text


@lru_cache(maxsize=4096)
def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A CIDR that `cidr` accepted, as the standard library's type."""
    return ipaddress.ip_network(text)


@lru_cache(maxsize=65536)
def ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address that `address` accepted, as the standard library's type."""
    return ipaddress.ip_address(text)


def cidr(value: object) -> str:
    """A network such as 192.168.0.0/24 without host bits."""
    text = _text(value, "a network such as 192.168.0.0/24")
    try:
        net = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Bad(f"{shown(text)} is not a network", "Write it in CIDR form: 192.168.0.0/24.") from None
    if "/" not in text:
        raise Bad(f"{text} has no prefix length", f"Say how large it is: {text}/24.")
    if net.network_address != ipaddress.ip_address(text.split("/")[0]):
        raise Bad(f"{text} has host bits set", f"The network is {net}.")
    return str(net)


def address(value: object) -> str:
    """An IPv4 or IPv6 address without a prefix."""
    text = _text(value, "an address such as 192.168.0.10")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        hint = "Leave the /prefix off here." if "/" in text else "Write it in full: 192.168.0.10."
        raise Bad(f"{shown(text)} is not an address", hint) from None
