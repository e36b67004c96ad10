"""The tour through the code leads where it says."""

from __future__ import annotations

import ast

from tests.docs.pages import ROOT, table


def test_each_stop_of_the_tour_is_called_from_a_stop_before_it():
    """The function is defined in the file, and a file on the way so far calls it, or hands it on."""
    stops = [
        (cells[1].strip("`"), cells[2].strip("`"))
        for cells in table(ROOT / "CONTRIBUTING.md", "stop", "file", "function")
    ]
    assert len(stops) == 10
    called: set[str] = {"run"}
    for file, function in stops:
        tree = ast.parse((ROOT / "jenkins_release" / file).read_text())
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert function in defined, (file, function)
        assert function in called, (file, function)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):  # itself, or by what it is handed to, such as a retry
                for each in (node.func, *node.args):
                    called.add(getattr(each, "attr", getattr(each, "id", "")))
