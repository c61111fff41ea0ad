"""A plugin that tells which lines of gh_tools tests run: ``pytest -p tests.lines --least-lines 88``.

SlipCover watches a line until it has run once, which costs next to nothing; Coverage.py, which watches all of them to
the end below Python 3.12, takes half of the time of tests again. Lines that commands run in processes of their own are
not counted.
"""

from __future__ import annotations

import json
import os
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
import slipcover

PACKAGE = Path(__file__).parents[1] / "gh_tools"
# Numba compiles functions of these and cloudpickle sends those of the last, which what watches lines would hinder.
NOT_WATCHED = ["spectra/sparse/pencil.py", "dft/projections.py", "workers/cluster.py"]

watched = slipcover.Slipcover(
    source=[str(PACKAGE)], omit=[str(PACKAGE / path) for path in NOT_WATCHED]
)
matcher = slipcover.FileMatcher([PACKAGE], [str(PACKAGE / path) for path in NOT_WATCHED])
_get_code = SourceFileLoader.get_code


def get_code(loader, name):
    """Return the code of a module with what watches its lines; the loader that checks shapes asks here as well."""
    code = _get_code(loader, name)
    return watched.instrument(code) if code and matcher.matches(code.co_filename) else code


SourceFileLoader.get_code = get_code


def pytest_addoption(parser):
    """Offer the share of lines below which the tests fail."""
    parser.addoption("--least-lines", type=float, default=0, help="least share of lines, in %%")


def pytest_configure_node(node):
    """Tell a worker of xdist where to leave what it has seen."""
    node.workerinput["lines"] = str(folder(node.config))


def folder(config) -> Path:
    """Return where workers leave what they have seen."""
    return config._tmp_path_factory.getbasetemp()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """Leave what this process has seen; the last one joins it, prints it, and fails where it is too little."""
    config = session.config
    seen = watched.get_coverage()
    if hasattr(config, "workerinput"):
        path = Path(config.workerinput["lines"]) / f"{os.environ['PYTEST_XDIST_WORKER']}.lines.json"
        path.write_text(json.dumps(seen))
        return
    for path in folder(config).glob("*.lines.json"):
        slipcover.merge_coverage(seen, json.loads(path.read_text()))
    config.seen_lines = seen
    share = seen["summary"]["percent_covered"]
    if share < config.getoption("least_lines") and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    """Print the share of lines by module, those left out where all were run."""
    seen = getattr(config, "seen_lines", None)
    if seen is None:
        return
    slipcover.print_coverage(seen, skip_covered=True, missing_width=40)
    share, least = seen["summary"]["percent_covered"], config.getoption("least_lines")
    terminalreporter.write_line(f"Tests run {share:.2f} % of all lines; {least:g} % are asked for.")
