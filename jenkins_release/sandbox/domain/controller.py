"""The domain controller: Samba's directory, Kerberos, DNS, and the root of the DFS namespace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from jenkins_release.base.dataclass import dataclass
from jenkins_release.sandbox.domain.network import listening
from jenkins_release.sandbox.domain.tools import run_tool
from jenkins_release.sandbox.process import OneServer, Server, find_program

_PACKAGE = "samba-ad-dc"
_DEBIAN_PYTHON = "/usr/bin/python3"
"""Samba's Python packages belong to Debian's interpreter."""
_PORTS = (53, 88, 389, 445)
"""DNS, Kerberos, LDAP and SMB."""
_FILL = """
import json, sys
import ldb
import samba.dckeytab
from samba.auth import system_session
from samba.credentials import Credentials
from samba.net import Net
from samba.param import LoadParm
from samba.provision.sambadns import add_host_record
from samba.samdb import SamDB

asked = json.load(sys.stdin)
lp = LoadParm()
lp.load(asked["config"])
creds = Credentials()
creds.guess(lp)
db = SamDB(url=asked["database"], session_info=system_session(lp), credentials=creds, lp=lp)
policy = ldb.Message(ldb.Dn(db, db.domain_dn()))
policy["lockoutThreshold"] = ldb.MessageElement("10", ldb.FLAG_MOD_REPLACE, "lockoutThreshold")
db.modify(policy)
for name, password in asked["passwords"].items():
    one = "(sAMAccountName=%s)" % name
    if db.search(base=db.domain_dn(), expression=one, attrs=[]):
        db.setpassword(one, password, force_change_at_next_login=False)
    else:
        db.newuser(name, password)
    db.setexpiry(one, 0, no_expiry_req=True)
zone = "DC=%s,CN=MicrosoftDNS,DC=DomainDnsZones,%s" % (lp.get("realm").lower(), db.domain_dn())
for name, address in asked["hosts"].items():
    add_host_record(db, zone, "DC=" + name, address, None)
for name, principal in asked["principals"].items():
    one = "(sAMAccountName=%s)" % name
    found = ldb.Message(db.search(base=db.domain_dn(), expression=one, attrs=[])[0].dn)
    found["spn"] = ldb.MessageElement(principal, ldb.FLAG_MOD_ADD, "servicePrincipalName")
    db.modify(found)
net = Net(None, lp)
for name, path in asked["keytabs"].items():
    net.export_keytab(keytab=path, principal=name)
"""


@dataclass(frozen=True)
class Names:
    """How a domain is called.

    Attributes:
        realm: Its DNS name, in lower case; in upper case it is the Kerberos realm.
        short: Its NetBIOS name.
        controller: Host name of the controller, without the domain.
        address: Address of the controller.
    """

    realm: str
    short: str
    controller: str
    address: str

    def host(self, name: str) -> str:
        """Return the full name of a host of the domain."""
        return f"{name}.{self.realm}"


class DomainController(OneServer):
    """A Samba AD controller, in the network in which this process runs.

    Args:
        folder: State folder.
        seen: Where it sees that folder: sockets have short paths.
        names: How the domain is called.
        environ: Its environment.
        roots: Folders that it shares as DFS roots, by name.
        hosts: Addresses of other hosts of the domain, for its DNS.
        principals: Service principals of users.
        options: More lines of the ``[global]`` section.
    """

    def __init__(
        self,
        folder: Path,
        seen: Path,
        names: Names,
        environ: Mapping[str, str],
        *,
        roots: Mapping[str, Path],
        hosts: Mapping[str, str],
        principals: Mapping[str, str],
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self._seen = seen
        self.names = names
        self._environ = dict(environ)
        self._roots = dict(roots)
        self._hosts = dict(hosts)
        self._principals = dict(principals)
        self._options = dict(options or {})
        self._server = Server("samba", self.folder)

    @property
    def config_file(self) -> Path:
        """The smb.conf that provisioning writes, with our lines."""
        return self._seen / "etc" / "smb.conf"

    @property
    def database(self) -> Path:
        """The directory's database."""
        return self._seen / "private" / "sam.ldb"

    def start(self, passwords: Mapping[str, str], keytabs: Mapping[str, Path], *, tied: bool = False) -> None:
        """Make the domain if it is new, and start the controller; a running one is kept.

        Args:
            passwords: Password of each user; users that are missing are created.
            keytabs: For each of these users, the file that gets its Kerberos keys.
            tied: End it when the calling process dies.

        Raises:
            ConfigurationError: Samba's controller is not installed.
            RemoteError: A tool failed, or the controller did not start.
        """
        if self.pid() is not None:
            return
        samba = find_program("samba", _PACKAGE)
        for root in self._roots.values():
            root.mkdir(parents=True, exist_ok=True)
        if not self.config_file.exists():
            self._provision()
            self._fill(passwords, keytabs)
        command = [samba, "--foreground", "--no-process-group", "--debug-stdout", "-s", str(self.config_file)]
        self._server.start(command, self._answers, env=self._environ, timeout_s=120.0, tied=tied)

    def _provision(self) -> None:
        names = self.names
        words = [
            find_program("samba-tool", "samba-common-bin"),
            *("domain", "provision"),
            f"--targetdir={self._seen}",
            f"--realm={names.realm.upper()}",
            f"--domain={names.short}",
            f"--host-name={names.controller}",
            f"--host-ip={names.address}",
            "--server-role=dc",
            "--dns-backend=SAMBA_INTERNAL",
            "--option=bind interfaces only = yes",
            f"--option=interfaces = {names.address}",
        ]
        run_tool(words, environ=self._environ)
        self._write_options()

    def _write_options(self) -> None:
        options = {
            "server services": "s3fs, rpc, ldap, cldap, kdc, dns, winbindd",
            "tls enabled": "no",
            "disable netbios": "yes",
            "load printers": "no",
            "printcap name": "/dev/null",
            "disable spoolss": "yes",
            "host msdfs": "yes",
            "log file": str(self._seen / "samba.log"),
            **self._options,
        }
        text = self.config_file.read_text()
        ours = "".join(f"\t{key} = {value}\n" for key, value in options.items())
        text = text.replace("[global]\n", f"[global]\n{ours}", 1)
        for name, root in self._roots.items():
            text += f"\n[{name}]\n\tpath = {root}\n\tmsdfs root = yes\n\tread only = yes\n"
        self.config_file.write_text(text)

    def _fill(self, passwords: Mapping[str, str], keytabs: Mapping[str, Path]) -> None:
        asked = {
            "config": str(self.config_file),
            "database": str(self.database),
            "passwords": dict(passwords),
            "hosts": self._hosts,
            "principals": self._principals,
            "keytabs": {user: str(path) for user, path in keytabs.items()},
        }
        run_tool([_DEBIAN_PYTHON, "-c", _FILL], environ=self._environ, told=json.dumps(asked))

    def _answers(self) -> bool:
        return all(listening(self.names.address, port) for port in _PORTS)
