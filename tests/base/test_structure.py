"""What an import costs, and what is exported; the directions of imports are contracts in pyproject.toml."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import jenkins_release
from jenkins_release.base.lazy_imports import homes_in_stub

ROOT = Path(jenkins_release.__file__).parent


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["candidate", "list", "--help"], ["promote", "run", "--help"]],
    ids=" ".join,
)
def test_help_and_version_import_no_heavy_library(words):
    """boto3, docker and smbprotocol are loaded by the commands that need them, when they run."""
    code = (
        "import sys; from jenkins_release.cli.entry import main; "
        f"status = main({words!r}); "
        "heavy = {'boto3', 'botocore', 'docker', 'smbprotocol', 'pydantic', 'requests'}; "
        "print(status, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


READS_RECORDS = ["boto3", "botocore.session", "docker", "requests", "smbprotocol"]
"""What no command needs that only reads records in a folder."""


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("steps.candidate.listing", READS_RECORDS),
        ("steps.candidate.export", READS_RECORDS),
        ("steps.candidate.load", READS_RECORDS),
        ("steps.qa.sign_off", READS_RECORDS),
        ("steps.promotion.plan", READS_RECORDS),
        ("steps.promotion.promote", READS_RECORDS),
        ("cli.promote", ["pydantic", *READS_RECORDS]),
        ("steps.candidate.archive_reader", READS_RECORDS),
    ],
)
def test_a_step_imports_only_the_services_that_it_opens(module, absent):
    """Docker's client without a daemon to talk to, and SMB's on a folder, would cost each command time."""
    assert imported(f"import jenkins_release.{module}", absent) == []


def test_a_client_of_aws_is_botocores_alone():
    """boto3 would add its resources and transfers, which cost each command a fifth of its start."""
    code = "from jenkins_release.aws import aws_client; aws_client('ecr', 'eu-central-1')"
    assert imported(code, ["boto3", "s3transfer", "requests"]) == []


def test_a_share_imports_no_certificates():
    """They are for a login of the SMB library's that is not used."""
    code = (
        "from jenkins_release.share import open_share; "
        "open_share(r'\\\\127.0.0.1\\data', username='u', password='p')"
    )
    assert imported(code, ["smbprotocol.session", "cryptography.x509"]) == ["smbprotocol.session"]


@pytest.mark.parametrize("kept", [False, True])
def test_a_command_imports_the_board_only_if_one_is_kept(kept):
    """It is a third of a second, at the end of each command that changes a release."""
    board = {"share": "board"} if kept else {}
    code = (
        "from types import SimpleNamespace\n"
        "from jenkins_release.cli.runtime import Runtime\n"
        "from jenkins_release.config.board import BoardSection\n"
        "runtime = Runtime({})\n"
        f"configuration = SimpleNamespace(board=BoardSection.model_validate({board}), retry=None)\n"
        "runtime.__dict__['services'] = SimpleNamespace(changed=True, configuration=configuration)\n"
        "try:\n    runtime.write_board()\nexcept AttributeError:\n    pass"
    )
    name = "jenkins_release.steps.overview.board"
    assert imported(code, [name]) == [name] * kept


def test_a_daemon_on_a_socket_needs_no_ssh():
    """Docker's SDK would import its library each time, if that is installed."""
    code = (
        "from pathlib import Path; from jenkins_release.config import load_configuration\n"
        "from jenkins_release.steps.context.services import Services\n"
        "Services(load_configuration(Path('examples/skydrm/release.toml'), environ={}), environ={}).engine"
    )
    assert imported(code, ["docker", "paramiko"]) == ["docker"]


def test_signatures_are_verified_without_the_clouds_that_can_sign():
    """Whoever imports such a library later gets the real one."""
    code = (
        "import jenkins_release.records.attestation, jenkins_release.records.trust; "
        "before = 'boto3' in sys.modules; import boto3; assert not before and boto3.session.Session()"
    )
    assert imported(code, ["boto3.session"]) == ["boto3.session"]


def test_what_was_left_for_later_is_imported_on_use():
    """A library that imports another one gets what that has, without a copy of it."""
    code = (
        "from jenkins_release.base.lazy_imports import left_for_later\n"
        "with left_for_later('colorsys', 'no_such_library'):\n"
        "    import colorsys as used\n"
        "assert 'colorsys' not in sys.modules and 'no_such_library' not in sys.modules\n"
        "assert used.rgb_to_hsv(1, 1, 1) == (0, 0, 1)\n"
        "import colorsys\n"
        "assert used.rgb_to_hsv is colorsys.rgb_to_hsv"
    )
    assert imported(code, ["colorsys"]) == ["colorsys"]


def imported(code, names):
    """Run a program in a new process, and return which of some modules it has imported."""
    code = f"import sys\n{code}\nprint([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return ast.literal_eval(done.stdout.strip())


def test_only_the_content_store_reads_parts_of_a_candidate_s_files():
    """What is wrong with a blob is found in one way, and said in the same words."""
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "steps").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "read"
        and {keyword.arg for keyword in call.keywords} & {"offset", "length"}
    }
    assert found == {"steps/candidate/content_store.py"}


def test_everything_that_is_exported_can_be_imported():
    """The Python API: verbs, requests, reports, errors."""
    for name in jenkins_release.__all__:
        assert getattr(jenkins_release, name) is not None
    assert set(jenkins_release.__all__) <= set(dir(jenkins_release))
    with pytest.raises(AttributeError):
        _ = jenkins_release.no_such_name


def test_each_exported_name_is_the_one_of_its_line_in_the_stub():
    """What type checkers see is what a program gets, and no module passes on what another one defines."""
    for name, home in homes_in_stub("jenkins_release", ROOT / "__init__.pyi").items():
        module = import_module(f"jenkins_release.{home}")
        assert getattr(jenkins_release, name) is getattr(module, name)
        assert name in {"__version__", "Configuration", "load_configuration"} or (
            getattr(module, name).__module__ == module.__name__
        )


@pytest.mark.parametrize(
    "line",
    [
        "from package.module import Other",
        "from package.module import Other as Another",
        "from package.module import Name as Name",
        "from .module import Other as Other",
        "from typing import Any as Any",
        "import package.module",
        "Other: int",
    ],
)
def test_a_stub_that_is_no_list_of_names_is_refused(tmp_path: Path, line: str):
    """A name would be missing from the package without a word."""
    stub = tmp_path / "__init__.pyi"
    good = '"""Names."""\n\nfrom package.module import Name as Name\n'
    stub.write_text(good)
    assert homes_in_stub("package", stub) == {"Name": "module"}
    stub.write_text(f"{good}{line}\n")
    with pytest.raises(ValueError, match="line 4"):
        homes_in_stub("package", stub)
