"""Mail over SMTP (RFC 5321), with TLS by STARTTLS (RFC 3207) or from the first byte (RFC 8314)."""

from __future__ import annotations

import contextlib
import errno
import re
import smtplib
import socket
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from typing import Any

from pydantic import SecretStr

from jenkins_release.base.causes import is_broken_tls
from jenkins_release.base.errors import ConfigurationError, ReleaseError, RemoteError
from jenkins_release.base.waits import Call
from jenkins_release.config.notify import PORTS, mail_address
from jenkins_release.notify.answers import quoted
from jenkins_release.notify.tls import verifying_context
from jenkins_release.records.message import Message

_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1")
_LONGEST_REPLY = 200
_MOST_OF_REPLY = 64 * 1024
_FOREIGN = (OSError, smtplib.SMTPException, ValueError)
"""What smtplib raises; a challenge that is not base64 is a ValueError."""


class MailNotifier:
    """Sends messages through a mail server.

    Args:
        host: The server.
        port: Its port; 0 for the default one.
        tls: ``starttls``, ``implicit``, or ``none``, which allows a login only on loopback.
        sender: Sender address.
        to: Recipient addresses.
        login: User and password; None if the server needs none.
        ca_file: PEM file of the authorities; the system's if empty.

    Raises:
        ConfigurationError: The login cannot be sent.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tls: str,
        *,
        sender: str,
        to: Sequence[str],
        login: tuple[str, SecretStr] | None = None,
        ca_file: str = "",
    ) -> None:
        self._host = host
        self._port = port or PORTS[tls]
        self._tls = tls
        self._sender = mail_address(sender)
        self._to = [mail_address(address) for address in to]
        self._login = login
        self._ca_file = ca_file
        if login is not None and tls == "none" and not _LOOPBACK.fullmatch(host):
            raise ConfigurationError(
                f"the login at {self.shown} would cross the network unencrypted",
                hint='set notify.tls to "starttls" or "implicit", or unset JENKINS_RELEASE_SMTP_USER',
            )
        if login is not None and not (login[0] + login[1].get_secret_value()).isascii():
            raise ConfigurationError(
                f"the login at {self.shown} contains characters beyond ASCII, which smtplib cannot send",
                hint="give the account a password of ASCII characters",
            )

    @property
    def shown(self) -> str:
        """The server."""
        return f"{self._host}:{self._port}"

    def deliver(self, message: Message, within_s: float) -> None:
        """Send a mail to all recipients; see :class:`jenkins_release.notify.protocol.Notifier`."""
        mail = self._compose(message)
        failure: ReleaseError | None = None
        call = Call(f"the mail server {self.shown} to answer", within_s)
        # Raised outside the handlers: a cause may quote what was sent to log in.
        with contextlib.ExitStack() as opened:
            try:
                with call:
                    server = self._connect(within_s)
                    opened.callback(server.close)
            except _FOREIGN as error:
                failure = self._unreachable(error)
            else:
                failure = self._hand_in(server, mail, call)
        if failure is not None:
            raise failure

    def _hand_in(self, server: smtplib.SMTP, mail: EmailMessage, call: Call) -> ReleaseError | None:
        try:
            with call:
                refused = server.send_message(
                    mail, self._sender.addr_spec, [address.addr_spec for address in self._to]
                )
        except _FOREIGN as error:
            return self._unsent(error)
        # It is sent: how the connection ends does not matter.
        with contextlib.suppress(*_FOREIGN), call:
            server.quit()
        return self._partly(refused) if refused else None

    def _compose(self, message: Message) -> EmailMessage:
        mail = EmailMessage(policy=SMTP_POLICY)
        mail["Subject"] = message.subject
        mail["From"] = self._sender
        mail["To"] = tuple(self._to)
        mail["Date"] = format_datetime(message.at)
        # The sender's domain: the name of this machine stays private.
        mail["Message-ID"] = f"<{message.id}@{self._sender.domain}>"
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834 section 5: no out-of-office replies
        mail["X-Auto-Response-Suppress"] = "All"  # the same for Exchange ([MS-OXCMAIL] 2.2.3.2.14)
        mail.set_content(message.text)
        if message.html:
            mail.add_alternative(message.html, subtype="html")
        return mail

    def _connect(self, within_s: float) -> smtplib.SMTP:
        context = verifying_context(self._ca_file) if self._tls != "none" else None
        me = _local_name()
        if self._tls == "implicit":
            return self._entered(
                _SecureServer(self._host, self._port, local_hostname=me, timeout=within_s, context=context),
                None,
            )
        server = _BoundedSmtp(self._host, self._port, local_hostname=me, timeout=within_s)
        return self._entered(server, context)

    def _entered(self, server: smtplib.SMTP, context: ssl.SSLContext | None) -> smtplib.SMTP:
        """Return a connection, encrypted and logged in as configured, or close it."""
        try:
            if context is not None:
                server.starttls(context=context)
            if self._login is not None:
                user, password = self._login
                server.login(user, password.get_secret_value())
        except BaseException:
            server.close()
            raise
        return server

    def _unreachable(self, error: Exception) -> ReleaseError:
        """Return the error for a server that was not reached or refuses access: nothing was sent."""
        where = self.shown
        # Only OpenSSL's own errors have a reason beyond their text.
        if isinstance(error, ssl.SSLCertVerificationError):
            reason = getattr(error, "verify_message", "") or type(error).__name__
            return ConfigurationError(
                f"the certificate of the mail server {where} is not trusted: {reason}",
                hint="notify.host must be the name in the certificate; set notify.ca_file to its authority",
            )
        if isinstance(error, ssl.SSLError) and not is_broken_tls(error):
            reason = getattr(error, "reason", "") or type(error).__name__
            return ConfigurationError(
                f"no TLS with the mail server {where}: {reason}",
                hint='notify.tls is "implicit" on port 465 and "starttls" on 587',
            )
        if isinstance(error, smtplib.SMTPNotSupportedError):
            lacks = "login" if "AUTH" in str(error) else "STARTTLS"
            return ConfigurationError(
                f"the mail server {where} does not support {lacks}",
                hint="check notify.tls and notify.port; nothing is sent unencrypted instead",
            )
        if isinstance(error, smtplib.SMTPAuthenticationError) and not _temporary(error):
            return ConfigurationError(
                f"the mail server {where} does not accept the login ({error.smtp_code})",
                hint="check JENKINS_RELEASE_SMTP_USER and JENKINS_RELEASE_SMTP_PASSWORD",
            )
        if isinstance(error, smtplib.SMTPResponseException):
            # Its text is not quoted: during the login, a server may repeat what it got.
            return RemoteError(
                f"the mail server {where} refuses the connection ({error.smtp_code})",
                retryable=_temporary(error),
            )
        return RemoteError(
            f"the mail server {where} cannot be reached: {_why(error)}",
            hint="check notify.host, notify.port and the firewall",
            retryable=True,
        )

    def _unsent(self, error: Exception) -> ReleaseError:
        """Return the error for a mail that was not delivered, or whose fate is unknown."""
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            codes = [code for code, _ in error.recipients.values()]
            return RemoteError(
                f"the mail server {self.shown} refuses every recipient: {_replies(error.recipients)}",
                hint="check notify.to, and whether the server relays for this machine",
                retryable=all(400 <= code < 500 for code in codes),
            )
        if isinstance(error, smtplib.SMTPResponseException):
            return RemoteError(
                f"the mail server {self.shown} does not accept the mail: "
                f"{error.smtp_code} {quoted(error.smtp_error, _LONGEST_REPLY)}",
                hint="check notify.sender, and whether the server relays for this machine",
                retryable=_temporary(error),
            )
        return RemoteError(
            f"the connection to the mail server {self.shown} broke while the mail was sent: {_why(error)}",
            hint="it may still have arrived, so it is not sent again",
        )

    def _partly(self, refused: dict[str, tuple[int, bytes]]) -> ReleaseError:
        return RemoteError(
            f"the mail server {self.shown} refuses {len(refused)} of {len(self._to)} recipients: "
            f"{_replies(refused)}",
            hint="the others got the mail; check notify.to",
        )


class _Replies:
    """Reads the lines of a server, with a limit on the size of a reply."""

    def __init__(self, lines: Any) -> None:
        self._lines = lines
        self._left = _MOST_OF_REPLY

    def again(self) -> None:
        """Begin a reply."""
        self._left = _MOST_OF_REPLY

    def readline(self, limit: int) -> bytes:
        """Read a line. Raises OSError if the reply is too long."""
        line: bytes = self._lines.readline(limit)
        self._left -= len(line)
        if self._left < 0:
            raise OSError(errno.EMSGSIZE, f"a reply of more than {_MOST_OF_REPLY} bytes")
        return line

    def close(self) -> None:
        """Close the connection's file."""
        self._lines.close()


class _BoundedSmtp(smtplib.SMTP):
    """An SMTP client that limits replies: smtplib reads lines until one says that it is the last."""

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply; see :meth:`smtplib.SMTP.getreply`."""
        if self.file is None and self.sock is not None:
            self.file = _Replies(self.sock.makefile("rb"))
        if isinstance(self.file, _Replies):
            self.file.again()
        return super().getreply()


class _SecureServer(_BoundedSmtp, smtplib.SMTP_SSL):
    """The same, with TLS from the first byte."""


def _local_name() -> str:
    """Return the name to greet with, without DNS, which may be slow."""
    name = socket.gethostname()
    return name if re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?", name) else "localhost"


def _temporary(error: smtplib.SMTPResponseException) -> bool:
    return 400 <= error.smtp_code < 500


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    hung_up = isinstance(error, smtplib.SMTPServerDisconnected | ConnectionResetError | BrokenPipeError)
    if hung_up or is_broken_tls(error):
        return "it closed the connection"
    return (error.strerror if isinstance(error, OSError) else "") or type(error).__name__


def _replies(refused: dict[str, tuple[int, bytes]]) -> str:
    return "; ".join(f"{who}: {code} {quoted(text, _LONGEST_REPLY)}" for who, (code, text) in refused.items())
