"""Print the quickstart's table from errors.json, times.tsv and the stores."""

import json
from pathlib import Path

from gh_tools.console import table


def main() -> None:
    """Print errors, times and the names of the pictures."""
    errors = json.loads(Path("errors.json").read_text())
    print(json.dumps(errors, indent=1))
    seconds: dict[str, float] = {}
    for line in Path("times.tsv").read_text().splitlines():
        took, program, _ = line.split("\t", 2)
        seconds[program] = seconds.get(program, 0.0) + float(took)
    table([[program, f"{s:.0f} s"] for program, s in seconds.items()], ["step", "time"])
    for picture in sorted(Path().glob("*.png")):
        print(picture.absolute())


if __name__ == "__main__":
    main()
