"""List the variants of ablations.toml, or print the options of gh-train that make one of them.

python variants.py
python variants.py NAME
"""

from __future__ import annotations

import shlex
import sys
import tomllib
from pathlib import Path

VARIANTS = tomllib.loads(Path(__file__).with_name("ablations.toml").read_text())


def main() -> None:
    """Print names, or options quoted for a shell."""
    if len(sys.argv) == 1:
        print(*VARIANTS)
    else:
        print(*(f"--set {shlex.quote(setting)}" for setting in VARIANTS[sys.argv[1]]))


if __name__ == "__main__":
    main()
