"""Messages to people: e-mail, ntfy, webhooks, and the call that a dead-man's switch waits for.

Belongs here: sending, and errors that name the channel and what to do. Not here: what is worth a message
(operations/alerts.py). Sources: RFC 5321 and 3207 (SMTP, STARTTLS); https://docs.ntfy.sh/publish/.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping, Sequence
from email.message import EmailMessage

import orjson

from homelab_platform.errors import HomelabError

TIMEOUT = 10.0
"""Seconds for a server to answer: all channels of one look have a minute."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def send_email(
    server: str, to: Sequence[str], title: str, text: str, *, sender: str, user: str = "", password: str = ""
) -> None:
    """Send one e-mail by `server` (`host` or `host:port`; 465 is TLS from the start, others take STARTTLS if offered).

    Raises HomelabError if the server is silent or refuses, or if a password would go over the network in plain text.
    """
    host, _, port = server.partition(":")
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, ", ".join(to), title
    message.set_content(text)
    kind = smtplib.SMTP_SSL if port == "465" else smtplib.SMTP
    try:
        with kind(host, int(port or 25), timeout=TIMEOUT) as connection:
            connection.ehlo()
            encrypted = port == "465"
            if not encrypted and connection.has_extn("starttls"):
                connection.starttls(context=ssl.create_default_context())
                connection.ehlo()
                encrypted = True
            if user and not encrypted and host not in LOOPBACK:
                raise HomelabError.of(
                    f"e-mail by {server}", "offers no TLS, so the password is not sent", "Use port 465."
                )
            if user:
                connection.login(user, password)
            connection.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        remedy = "Look at alerts.email: server, user, password."
        raise HomelabError.of(f"e-mail by {server}", f"was not taken: {_reason(error)}", remedy) from None


def post_ntfy(url: str, title: str, text: str, *, token: str = "", urgent: bool = True) -> None:
    """Push to an ntfy topic. Raises HomelabError if the server is silent or refuses."""
    headers = {"Title": title.encode("ascii", "replace").decode(), "Priority": "high" if urgent else "default"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    _request("ntfy", "POST", url, text.encode(), headers)


def post_json(channel: str, url: str, document: Mapping[str, object]) -> None:
    """Call a webhook with a JSON object. `channel` names it in errors: its address may be a secret."""
    _request(channel, "POST", url, orjson.dumps(document), {"Content-Type": "application/json"})


def call(channel: str, url: str) -> None:
    """Ask for an address, as a dead-man's switch waits for it."""
    _request(channel, "GET", url, b"", {})


def _request(channel: str, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> None:
    import urllib3

    try:
        with urllib3.PoolManager(retries=False, timeout=TIMEOUT) as http:
            answer = http.request(method, url, body=body or None, headers=dict(headers))
    except urllib3.exceptions.HTTPError as error:
        raise HomelabError.of(channel, f"does not answer: {type(error).__name__}", "Look at its address.") from None
    if answer.status >= 300:
        raise HomelabError.of(channel, f"answered {answer.status}", "Look at its address and token.")


def _reason(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        said = error.smtp_error
        return f"{error.smtp_code} {said.decode('utf-8', 'replace') if isinstance(said, bytes) else said}"
    said = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
    return said or type(error).__name__
