"""Write the man pages, the shell completions and docs/reference/commands.md from the commands themselves,
and the schema document from the schema.

python share/gh_tools/generate.py            writes them
python share/gh_tools/generate.py --check    exits with 1 if one of them is not up to date
"""

from __future__ import annotations

import enum
import inspect
import json
import sys
import tomllib
import typing
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType

from schema_document import schema_document

from gh_tools.trained_model import shipped

HERE = Path(__file__).parent
SCRIPTS = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())["project"]["scripts"]
# The configurations that commands take with --config and --set; recipes are added to gh-build.
CONFIGURATIONS = {
    "gh-label": "gh_tools.dft.config:LabelConfig",
    "gh-train": "gh_tools.training.config:TrainConfig",
    "gh-dos": "gh_tools.spectra.config:DosConfig",
    "gh-bands": "gh_tools.spectra.config:ProjectedConfig",
    "gh-ldos": "gh_tools.spectra.config:SamplingConfig",
    "gh-optics": "gh_tools.spectra.optics.config:OpticsConfig",
}
EXIT_CODES = (
    ("0", "done"),
    ("2", "wrong usage: an option or a configuration key"),
    ("65", "a bad store or bad data"),
    ("66", "no input: a missing file, or an upstream command that produced nothing"),
    ("69", "an optional part is not installed; the message names the extra that brings it"),
    (
        "73",
        "the output cannot be created or written (a full disk, a closed stream), or exists already",
    ),
    ("75", "unfinished; go on with --resume"),
    ("130", "interrupted"),
)


@dataclass
class Parameter:
    """An option (with flags) or an argument (without) of a command."""

    flags: list[str]
    metavar: str  # empty for switches
    choices: list[str]
    default: str
    help: str
    takes_files: bool = False
    required: bool = False
    kind: str = ""  # of the stores that it takes, if it takes stores of one kind


@dataclass
class Command:
    """What there is to say about a command."""

    name: str
    summary: str
    paragraphs: list[str]
    example: str
    arguments: list[Parameter]
    options: list[Parameter]
    words: list[str]  # that the first argument may be
    keys: dict[
        str, dict[str, list[str]]
    ]  # of --set, by word (or ""), with the values that there are to choose from


def commands() -> list[Command]:
    """Return all commands of the package, in the order of pyproject.toml."""
    return [_command(name, target) for name, target in SCRIPTS.items()]


def _command(name: str, target: str) -> Command:
    from typer.main import get_command

    module, attribute = target.split(":")
    command = get_command(getattr(import_module(module), attribute))
    function = inspect.unwrap(command.callback)
    hints = typing.get_type_hints(function)
    summary, *paragraphs = [
        _flow(paragraph) for paragraph in inspect.getdoc(function).split("\n\n")
    ]
    parameters = [
        _parameter(p, hints[p.name]) for p in command.params if p.name in hints and not p.hidden
    ]
    models = dict(_models_of(name))
    for parameter in parameters:
        _complete(parameter, models)
    standard = [
        Parameter(["--version"], "", [], "", "Show the version, and stop."),
        Parameter(["-h", "--help"], "", [], "", "Show the help, and stop."),
    ]
    return Command(
        name,
        summary,
        paragraphs,
        command.epilog.removeprefix("Example: "),
        [parameter for parameter in parameters if not parameter.flags],
        [*(parameter for parameter in parameters if parameter.flags), *standard],
        [word for word in models if word],
        {word: _set_keys(model) for word, model in models.items()},
    )


def _models_of(name: str) -> list[tuple[str, type]]:
    """Return the configuration models of a command, with the word that chooses between several."""
    if name == "gh-build":
        registry = import_module("gh_tools.structures.registry")
        return [(recipe, registry.get_recipe(recipe).config) for recipe in registry.NAMES]
    if name not in CONFIGURATIONS:
        return []
    module, attribute = CONFIGURATIONS[name].split(":")
    return [("", getattr(import_module(module), attribute))]


def _complete(option: Parameter, models: dict[str, type]) -> None:
    """Add the values that an option may have to those that its type tells."""
    flag = max(option.flags, key=len, default="")
    if flag == "--preset":
        option.choices = sorted(file.stem for file in (HERE / "presets").glob("*.toml"))
    elif flag in ("--anneal", "--relax"):
        calculators = import_module("gh_tools.structures.calculators")
        option.choices = list(calculators.CALCULATORS)
    elif flag in ("--model", "--from"):
        option.kind, option.choices = "model", shipped.names()
    elif "" in models:  # an option that stands for a key of the configuration
        field = models[""].model_fields.get(flag.lstrip("-"))
        option.choices = _choices(field.annotation) if field else option.choices


def _set_keys(model, prefix: str = "") -> dict[str, list[str]]:
    """Return the keys of --set, those of all nested tables included, with the values to choose from."""
    found: dict[str, list[str]] = {}
    for name, field in model.model_fields.items():
        nested = _models(field.annotation)
        if not nested:
            values = ["true", "false"] if field.annotation is bool else _literals(field.annotation)
            found[prefix + name] = values
        for inner in nested:
            for key, values in _set_keys(inner, f"{prefix}{name}.").items():
                # Variants of a table share keys, such as the one that tells them apart.
                found[key] = list(dict.fromkeys([*found.get(key, []), *values]))
    return found


def _parameter(parameter, hint) -> Parameter:
    """Describe a parameter; ``hint`` is the type of the function's argument behind it."""
    base = hint
    while typing.get_origin(base) in (typing.Union, UnionType, list, tuple):
        base = next(t for t in typing.get_args(base) if t is not NoneType)
    choices = []
    if typing.get_origin(base) is typing.Literal:
        choices = [str(value) for value in typing.get_args(base)]
    elif isinstance(base, type) and issubclass(base, enum.Enum):
        choices = [str(member.value) for member in base]
    is_option = parameter.param_type_name == "option"
    default = parameter.default
    if isinstance(default, enum.Enum):
        default = default.value
    elif default is None or isinstance(default, bool) or callable(default) or default == []:
        default = ""
    metavar = parameter.metavar or "|".join(choices)
    return Parameter(
        flags=sorted([*parameter.opts, *parameter.secondary_opts], key=len) if is_option else [],
        metavar="" if base is bool else metavar,
        choices=choices,
        default=str(default),
        help=_flow(parameter.help or ""),
        takes_files=base is Path or not is_option,
        required=parameter.required,
    )


def _flow(text: str) -> str:
    """Return text in one line, with Markdown's code quotes for those of docstrings."""
    return " ".join(text.split()).replace("``", "`")


# --- man pages


def man_page(command: Command, names: list[str]) -> str:
    """Return the page of a command in the troff language."""
    import gh_tools

    lines = [
        f'.TH {command.name.upper()} 1 "" "gh-tools {gh_tools.__version__}" "gh-tools"',
        ".SH NAME",
        f"{_troff(command.name)} \\- {_troff(command.summary.rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {_troff(command.name)}",
        " ".join(["[\\fIoptions\\fR]", *map(_usage, command.arguments)]),
        ".SH DESCRIPTION",
        *(
            line
            for text in [command.summary, *command.paragraphs]
            for line in (".PP", _troff(text))
        ),
    ]
    if command.arguments:
        lines.append(".SH ARGUMENTS")
        for argument in command.arguments:
            lines += [".TP", f"\\fI{_troff(argument.metavar)}\\fR", _troff(argument.help)]
    lines.append(".SH OPTIONS")
    for option in command.options:
        flags = ", ".join(f"\\fB{_troff(flag)}\\fR" for flag in option.flags)
        value = f" \\fI{_troff(option.metavar)}\\fR" if option.metavar else ""
        lines += [".TP", flags + value, _troff(_with_default(option))]
    lines.append(".SH EXIT STATUS")
    for code, meaning in EXIT_CODES:
        lines += [".TP", f"\\fB{code}\\fR", _troff(meaning)]
    others = ", ".join(f"\\fB{_troff(n)}\\fR(1)" for n in names if n != command.name)
    lines += [".SH EXAMPLE", ".nf", _troff(command.example), ".fi", ".SH SEE ALSO", others]
    return "\n".join(lines) + "\n"


def _usage(argument: Parameter) -> str:
    name = f"\\fI{_troff(argument.metavar)}\\fR"
    return name if argument.required else f"[{name} ...]"


def _troff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def _with_default(parameter: Parameter) -> str:
    return parameter.help + (f" Default: {parameter.default}." if parameter.default else "")


# --- reference


def reference(found: list[Command]) -> str:
    """Return the reference of all commands in Markdown."""
    lines = [
        "# Reference of the commands",
        "",
        "Generated by `python share/gh_tools/generate.py`; change the commands, not this file.",
        "",
        "Every command writes results to standard output (the path of the finished store, one a "
        "line) and everything else to standard error, and ends with one of these exit codes:",
        "",
        "| code | meaning |",
        "| --- | --- |",
        *(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES),
    ]
    for command in found:
        lines += ["", f"## {command.name}", ""]
        for text in [command.summary, *command.paragraphs]:
            lines += [text, ""]
        lines += ["```sh", command.example, "```", "", "| option | meaning |", "| --- | --- |"]
        for parameter in [*command.arguments, *command.options]:
            names = ", ".join(f"`{flag}`" for flag in parameter.flags)
            value = f"`{parameter.metavar}`" if parameter.metavar else ""
            cell = " ".join(part for part in (names, value) if part).replace("|", "\\|")
            lines.append(f"| {cell} | {_cell(_with_default(parameter))} |")
        for title, model in configurations(command):
            lines += ["", f"### {title}", "", _cell(inspect.getdoc(model)), ""]
            lines += ["| key | default | meaning |", "| --- | --- | --- |", *_keys(model)]
    return "\n".join(lines) + "\n"


def configurations(command: Command) -> list[tuple[str, type]]:
    """Return the configuration models of a command with a title for each."""
    return [
        (f"Recipe {word}" if word else f"Configuration of {command.name}", model)
        for word, model in _models_of(command.name)
    ]


def _keys(model, prefix: str = "", variant: str = "") -> list[str]:
    """Return a table row for each key of a pydantic model, those of nested tables included."""
    from pydantic_core import to_jsonable_python

    rows = []
    for name, field in model.model_fields.items():
        nested = _models(field.annotation)
        default = ""
        if not nested and not field.is_required():
            value = to_jsonable_python(field.get_default(call_default_factory=True))
            default = "none" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"
        choices = _choices(field.annotation)
        meaning = (field.description or "") + (f" One of {', '.join(choices)}." if choices else "")
        only = f" ({variant})" if variant else ""
        rows.append(f"| `{prefix}{name}`{only} | {_cell(default)} | {_cell(meaning)} |")
        for inner in nested:
            kind = inner.model_fields.get("name") if len(nested) > 1 else None
            of = _literals(kind.annotation)[0] if kind else variant
            rows += _keys(inner, f"{prefix}{name}.", of)
    return rows


def _models(annotation) -> list[type]:
    """Return the pydantic models within an annotation, but for those by names of the user's choice."""
    if typing.get_origin(annotation) is dict:
        return []
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models(part)]


def _literals(annotation) -> list[str]:
    if typing.get_origin(annotation) is typing.Literal:
        return [str(value) for value in typing.get_args(annotation)]
    return []


def _choices(annotation) -> list[str]:
    choices = _literals(annotation)
    return choices if len(choices) > 1 else []


def _cell(text: str) -> str:
    return _flow(text).replace("|", "\\|")


# --- models


def models_page() -> str:
    """Return the cards of the models that come with gh-tools as a page."""
    from gh_tools.trained_model.card import render_card

    lines = [
        "# Models that come with gh-tools",
        "",
        "[How to use them](../how-to/shipped-models.md). Errors are mean absolute ones, in meV, on structures that the models have not "
        "seen; eigenvalues are those within ±5 eV of E_F, absolute and after aligning by a constant shift. The same is told by "
        "`gh-info --models`.",
    ]
    for card in map(shipped.read_card, shipped.names()):
        lines += ["", f"## {card['name']}", ""]
        title, *more = render_card(card)
        lines += [
            f"{title.strip()}. {', '.join(card['species'])}; {card['bytes'] / 1e6:.2f} MB.",
            "",
        ]
        lines += [f"- {line.strip()}" for line in more]
    return "\n".join(lines) + "\n"


# --- completions


def bash(found: list[Command]) -> str:
    """Return the completions for bash: options, their values, recipes, keys, stores, and else files."""
    cases = []
    for command in found:
        flags = " ".join(flag for option in command.options for flag in option.flags)
        values = [
            f'{"|".join(o.flags)}) words="{" ".join(o.choices)}" ;;'
            for o in command.options
            if o.choices and not o.kind
        ]
        values += [
            f'{"|".join(o.flags)}) kind={o.kind} words="{" ".join(o.choices)}" ;;'
            for o in command.options
            if o.kind
        ]
        if command.keys:
            values += ['--set) words=$keys; keys="=" ;;', *_bash_key_values(command)]
        lines = [
            f"    {command.name})",
            f'      options="{flags}"',
            f'      words="{" ".join(command.words)}"',
        ]
        lines += _bash_keys(command)
        if values:
            lines += ['      case "$3" in', *(f"        {value}" for value in values), "      esac"]
        cases += [*lines, "      ;;"]
    names = " ".join(command.name for command in found)
    return "\n".join(
        [
            "# Completions of gh-tools for bash: source this file.",
            "",
            "# Stores of one kind, and folders that are no stores.",
            "_gh_tools_stores() {",
            "  local folder",
            '  for folder in "$2"*/; do',
            '    if [[ ! -e "${folder}zarr.json" ]]; then',
            '      [[ -d "$folder" ]] && echo "$folder"',
            '    elif grep -qs "^    \\"kind\\": \\"$1\\"" "${folder}zarr.json"; then',
            '      echo "${folder%/}"',
            "    fi",
            "  done",
            "}",
            "",
            "_gh_tools() {",
            '  local options="" words="" keys="" kind="" key=""',
            "  # bash takes the equals sign for a word: of --set KEY=VALUE it stands before the value.",
            '  local typed="$2" previous="$3"',
            '  [[ "$typed" == "=" ]] && typed=""',
            '  if [[ "${COMP_WORDS[COMP_CWORD]}" == "=" ]]; then key="${COMP_WORDS[COMP_CWORD - 1]}"; fi',
            '  if [[ "$previous" == "=" ]]; then key="${COMP_WORDS[COMP_CWORD - 2]}"; fi',
            '  [[ "$key" ]] && set -- "$1" "$typed" "=$key"',
            '  case "${1##*/}" in',
            *cases,
            "  esac",
            '  if [[ "$typed" == -* ]]; then words=$options; fi',
            '  if [[ "$kind" ]]; then',
            '    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$typed"; _gh_tools_stores "$kind" "$typed")',
            "    return",
            "  fi",
            '  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$typed")',
            "  # Behind a key comes its value.",
            '  if [[ "$keys" == "=" ]]; then',
            '    COMPREPLY=("${COMPREPLY[@]/%/=}")',
            "    compopt -o nospace 2> /dev/null",
            "  fi",
            "}",
            f"complete -o bashdefault -o default -F _gh_tools {names}",
            "",
        ]
    )


def _bash_keys(command: Command) -> list[str]:
    """Return lines that set the keys of --set, those of the recipe where one is given."""
    if list(command.keys) == [""]:
        return [f'      keys="{" ".join(command.keys[""])}"']
    lines = [
        f'        *" {word} "*) keys="{" ".join(keys)}" ;;'
        for word, keys in command.keys.items()
        if word != "file"
    ]
    if not lines:
        return []
    other = f'        *) keys="{" ".join(command.keys["file"])}" ;;'
    return ['      case " ${COMP_WORDS[*]} " in', *lines, other, "      esac"]


def _bash_key_values(command: Command) -> list[str]:
    values = {key: v for keys in command.keys.values() for key, v in keys.items() if len(v) > 1}
    return [f'={key}) words="{" ".join(v)}" ;;' for key, v in values.items()]


def _key_values(command: Command) -> str:
    """Return KEY=VALUE of all keys with values to choose from, as words."""
    values = {key: v for keys in command.keys.values() for key, v in keys.items() if len(v) > 1}
    return " ".join(f"{key}={value}" for key, known in values.items() for value in known)


def _all_keys(command: Command) -> list[str]:
    return list(dict.fromkeys(key for keys in command.keys.values() for key in keys))


def zsh(found: list[Command]) -> str:
    """Return the completions for zsh."""
    lines = [
        f"#compdef {' '.join(command.name for command in found)}",
        "# Completions of gh-tools for zsh: put this file into a folder of $fpath.",
        "",
        "# Stores of one kind, and folders that are no stores.",
        "_gh_tools_stores() {",
        "  local folder",
        "  local -a stores folders",
        "  for folder in ${PREFIX}*(N-/); do",
        "    if [[ ! -e $folder/zarr.json ]]; then",
        "      folders+=($folder/)",
        '    elif grep -qs "^    \\"kind\\": \\"$1\\"" $folder/zarr.json; then',
        "      stores+=($folder)",
        "    fi",
        "  done",
        "  local none=1",
        "  compadd -- $stores && none=0",
        "  compadd -S '' -- $folders && none=0",
        "  return $none",
        "}",
        "",
        "case $service in",
    ]
    for command in found:
        lines.append(f"  {command.name})")
        lines.append("    _arguments -s \\")
        for option in command.options:
            text = option.help.translate(str.maketrans({"'": "’", "[": "(", "]": ")", ":": ","}))
            value = ""
            if option.metavar:
                action = f"({' '.join(option.choices)})" if option.choices else ""
                action = action or ("_files" if option.takes_files else "")
                if option.kind:
                    words = f"compadd -- {' '.join(option.choices)}; " if option.choices else ""
                    action = f"{{{words}_gh_tools_stores {option.kind}}}"
                if "--set" in option.flags:
                    keys = " ".join(f"{key}=" for key in _all_keys(command))
                    action = (
                        f"{{if [[ $PREFIX == *=* ]]; then compadd -- {_key_values(command)}; "
                        f'else compadd -S "" -- {keys}; fi}}'
                    )
                value = f":{option.metavar.replace(':', ',')}:{action}"
            lines += [f"      '{flag}[{text}]{value}' \\" for flag in option.flags]
        words = f"_alternative 'words:recipe:({' '.join(command.words)})' 'files:file:_files'"
        lines.append(
            f"      '*:input:{'{' + words.replace(chr(39), chr(34)) + '}' if command.words else '_files'}'"
        )
        lines.append("    ;;")
    return "\n".join([*lines, "esac", ""])


def fish(found: list[Command]) -> str:
    """Return the completions for fish."""
    lines = [
        "# Completions of gh-tools for fish: source this file.",
        "",
        "# Stores of one kind, and folders that are no stores.",
        "function __gh_tools_stores",
        "    set -l typed (commandline -ct | string replace -r '^--[a-z-]+=' '')",
        "    for folder in $typed*/",
        "        if not test -e $folder/zarr.json",
        "            echo $folder",
        '        else if grep -qs "^    \\"kind\\": \\"$argv[1]\\"" $folder/zarr.json',
        "            string trim -r -c / $folder",
        "        end",
        "    end",
        "end",
        "",
        "# Keys, and behind an equals sign their values.",
        "function __gh_tools_keys",
        "    if string match -q '*=*' -- (commandline -ct)",
        "        string split ' ' -- $argv[2]",
        "    else",
        "        string split ' ' -- $argv[1]",
        "    end",
        "end",
        "",
    ]
    for command in found:
        for option in command.options:
            flags = " ".join(
                f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
                for flag in option.flags
            )
            value = ""
            if "--set" in option.flags:
                keys = " ".join(f"{key}=" for key in _all_keys(command))
                value = f' -x -a \'(__gh_tools_keys "{keys}" "{_key_values(command)}")\''
            elif option.kind:
                words = " ".join([*option.choices, f"(__gh_tools_stores {option.kind})"])
                value = f" -x -a '{words}'"
            elif option.choices:
                value = f" -x -a '{' '.join(option.choices)}'"
            elif option.metavar:
                value = " -r" if option.takes_files else " -x"
            text = option.help.replace("\\", "\\\\").replace("'", "\\'")
            lines.append(f"complete -c {command.name} {flags}{value} -d '{text}'")
        if command.words:
            lines.append(f"complete -c {command.name} -a '{' '.join(command.words)}' -d 'recipe'")
    return "\n".join([*lines, ""])


def files() -> dict[Path, str]:
    """Return all generated files: their paths and what they must hold."""
    found = commands()
    names = [command.name for command in found]
    return {
        **{HERE / "man" / f"{c.name}.1": man_page(c, names) for c in found},
        HERE / "docs" / "reference" / "commands.md": reference(found),
        HERE / "docs" / "reference" / "stores.md": schema_document(),
        HERE / "docs" / "reference" / "models.md": models_page(),
        HERE / "completions" / "gh-tools.bash": bash(found),
        HERE / "completions" / "_gh-tools": zsh(found),
        HERE / "completions" / "gh-tools.fish": fish(found),
    }


def main() -> int:
    """Write the files, or compare them with what they must hold."""
    only_check = "--check" in sys.argv[1:]
    stale = {
        path: text
        for path, text in files().items()
        if not path.exists() or path.read_text() != text
    }
    for path, text in stale.items():
        if not only_check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        print(path.relative_to(HERE))
    return int(only_check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
