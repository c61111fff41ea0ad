"""Imports go one way: a part of the package knows those below it, and no module is in a circle."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import gh_tools

PACKAGE = Path(gh_tools.__file__).parent
# From the ground up. Parts of one line may know each other's files only as far as there is no circle,
# but for training and inference, which are siblings.
LAYERS = (
    "version, errors, tables, progress_bar, console, resources, files, outputs, plotting, units, aliases",
    "orbitals",
    "workers",
    "store",
    "model",
    "labels",
    "structures",
    "dft",
    "overlap",
    "formats",
    "spectra",
    "bayes",
    "evaluation",
    "scaleshift",
    "trained_model",
    "training | inference",
    "api",
    "cli",
)
HEIGHT = {part: i for i, line in enumerate(LAYERS) for part in re.split(r" \| |, ", line)}


def modules() -> dict[str, Path]:
    found = {}
    for file in PACKAGE.rglob("*.py"):
        name = ".".join(["gh_tools", *file.relative_to(PACKAGE).with_suffix("").parts])
        found[name.removesuffix(".__init__")] = file
    return found


def imports(file: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the package that a file imports anywhere: in functions and for types alone, too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports are not followed here"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in known else str(node.module))
    return (found & set(known)) - {next(name for name in known if known[name] == file)}


MODULES = modules()
GRAPH = {name: imports(file, MODULES) for name, file in MODULES.items()}


def part(module: str) -> str:
    return (module.split(".") + [""])[1]


def test_every_part_has_its_place():
    assert {part(name) for name in GRAPH} - {""} == set(HEIGHT)


def test_no_part_imports_one_above_it():
    upwards = [
        f"{module} imports {other}"
        for module, others in GRAPH.items()
        for other in others
        if part(module) and part(other) and part(module) != part(other)
        if HEIGHT[part(other)] > HEIGHT[part(module)]
        or {part(module), part(other)} == {"training", "inference"}
    ]
    assert upwards == []


def test_no_circle():
    TopologicalSorter(GRAPH).prepare()  # raises CycleError, which names the circle


def test_gpaw_is_imported_in_one_part():
    users = {
        part(name)
        for name, file in MODULES.items()
        if re.search(r"^\s*(from|import) gpaw\b", file.read_text(), re.M)
    }
    assert users == {"dft"}


def test_the_architecture_page_states_the_same_order():
    page = PACKAGE.parent / "share/gh_tools/docs/explanation/architecture.md"
    stated = re.search(r"```\n(version.*?)\n```", page.read_text(), re.S)
    assert stated is not None and tuple(stated[1].splitlines()) == LAYERS
