"""gh-tools: names the commands."""

from __future__ import annotations

import inspect
import json
import textwrap
from importlib import import_module

from gh_tools.cli.command import command
from gh_tools.cli.options import DebugOption, JsonOption, QuietOption, VerboseOption

# In the order in which work goes.
COMMANDS = (
    "build",
    "label",
    "import_",
    "fit_scaleshift",
    "train",
    "infer",
    "select",
    "export",
    "overlap",
    "eval",
    "dos",
    "bands",
    "ldos",
    "optics",
    "transport",
    "bayes",
    "info",
)


def main(
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """List the commands of gh-tools, each with what it does.

    With --version, as every command, it shows the version.
    """
    for module in COMMANDS:
        name = "gh-" + module.strip("_").replace("_", "-")
        text = inspect.getdoc(import_module(f"gh_tools.cli.{module}").main) or ""
        does = " ".join(text.split("\n\n")[0].split())
        if as_json:
            print(json.dumps({"command": name, "does": does}))
        else:
            print(textwrap.fill(f"{name:18}{does}", 79, subsequent_indent=" " * 18))


app = command(main, "gh-tools --version")
