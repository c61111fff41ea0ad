"""The documents speak of what there is: commands, options, files."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "share/gh_tools").rglob("*.md"))]


@pytest.fixture
def flags(commands):
    """Return the options of every command, by its name."""
    return {
        name: {flag for option in command.options for flag in option.flags}
        for name, command in commands.items()
    }


def _command_lines(text):
    """Yield the gh- commands of all code blocks, pipes taken apart and continued lines joined."""
    for block in re.findall(r"^```(?:sh|bash|console|make)\n(.*?)^```", text, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"\s#.*", "", line).strip().removeprefix("$ ")
            for part in re.split(r"\||&&|;|\$\(", line):
                if part.strip().startswith("gh-"):
                    yield part.strip().rstrip(")")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_options_exist(document, flags):
    for line in _command_lines(document.read_text()):
        name, *words = shlex.split(line)
        assert name in flags, f"{document.name}: {line}"
        used = {word.split("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
        assert used <= flags[name], f"{document.name}: {line}: {used - flags[name]}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_first_page_leads_to_every_page():
    docs = ROOT / "share/gh_tools/docs"
    linked = set(re.findall(r"\]\(([^)#]+)\)", (docs / "index.md").read_text()))
    pages = {str(page.relative_to(docs)) for page in docs.rglob("*.md")} - {"index.md"}
    assert {
        page for page in pages if "/20" not in page
    } <= linked  # experiments have a list of their own


def test_reference_names_every_command(flags):
    text = (ROOT / "share/gh_tools/docs/reference/commands.md").read_text()
    assert re.findall(r"^## (gh-\S+)", text, re.M) == list(flags)


def test_recipes_of_the_reference_are_those_that_the_command_lists():
    listed = subprocess.run(
        [Path(sys.executable).parent / "gh-build", "--list"], capture_output=True, text=True
    ).stdout.split("\n")
    text = (ROOT / "share/gh_tools/docs/reference/commands.md").read_text()
    for line in filter(None, listed):
        assert f"### Recipe {line.split()[0]}\n" in text
