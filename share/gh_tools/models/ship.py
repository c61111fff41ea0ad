"""Make a shipped model of a trained one: NAME.zip with its card here, and a frozen test set in tests/data/models.

    python ship.py wse2 --model wse2.model.zarr --labels wse2.hamiltonians.zarr --larger wse2-large.hamiltonians.zarr

The test set of the model's split is predicted and compared, and so are the larger structures; the card's numbers are those. Words
of the card stand in about/NAME.toml. The smallest cells of the test set are frozen: tests hold the model to its card on them.
Run it in a folder of its own; predictions and errors stay there.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np

from gh_tools.store.hamiltonian_writer import HamiltonianWriter
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.hashes import stored_files
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.trained_model.shipped import read_card

HERE = Path(__file__).resolve().parent
FROZEN = HERE.parents[2] / "tests" / "data" / "models"
LARGEST = 1.5e6


def run(*command: object) -> str:
    """Run a command and return what it prints."""
    print("+", *command, file=sys.stderr, flush=True)
    return subprocess.run(
        list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def errors_of(model: Path, labels: list[Path], kind: str, *options: str) -> list[Path]:
    """Predict and compare; return the files of errors, one a store that has such structures."""
    files = []
    bars = ["--error-bars"] if open_store(model).keys("last_layers/") else []
    for number, store in enumerate(labels):
        predicted, file = Path(f"{kind}{number}.predicted.zarr"), Path(f"{kind}{number}.json")
        try:
            run("gh-infer", store, "-m", model, *options, *bars, "-o", predicted, "--overwrite")
        except subprocess.CalledProcessError as error:
            if len(labels) > 1 and options and error.returncode == 65:
                continue  # no structure of it is in the test set
            raise
        file.write_text(run("gh-eval", "--json", predicted, store))
        files.append(file)
    return files


def freeze(source: Path, tested: set[str], count: int, name: str) -> Path | None:
    """Write the smallest of some structures of a store of labels as an archive; None where it has none of them."""
    reader = HamiltonianReader(source)
    found = [n for n, known in enumerate(reader.names) if known in tested]
    chosen = sorted(found, key=lambda n: len(reader.structures.atoms[n]))[:count]
    if not chosen:
        return None
    path = Path(f"{name}.hamiltonians.zarr")
    provenance = Provenance("ship.py")
    writer = HamiltonianWriter(path, reader.structures.select(chosen), provenance, overwrite=True)
    for row, index in enumerate(chosen):
        labels = reader.read(index)
        for _, blocks in labels.groups():
            blocks.hamiltonian = rounded(blocks.hamiltonian, 2.0**-16)
            blocks.overlap = rounded(blocks.overlap, 2.0**-18)
        writer.write(row, labels)
    writer.publish(reader.basis, {k: v for k, v in reader.attributes.items() if k != "failed"})
    FROZEN.mkdir(parents=True, exist_ok=True)
    archive = FROZEN / f"{name}.tar.xz"
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for key in stored_files(path):
            content = (path / key).read_bytes()
            member = tarfile.TarInfo(f"{path.name}/{key}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive


def rounded(values: np.ndarray, grid: float) -> np.ndarray:
    """Round to multiples: by 0.004 meV of H and 1e-6 of S on average, so that archives are half as large."""
    return (np.round(values.astype(np.float64) / grid) * grid).astype(np.float32)


def main() -> None:
    """Make the model and its frozen test set."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--labels", type=Path, nargs="+", required=True)
    parser.add_argument("--larger", type=Path, nargs="*", default=[])
    parser.add_argument("--cells", type=int, default=2, help="of the frozen test set")
    parser.add_argument(
        "--no-error-bars", action="store_true", help="leave out what they are made of"
    )
    options = parser.parse_args()
    name = options.name
    test = errors_of(options.model, options.labels, "test", "--part", "test")
    larger = errors_of(options.model, options.larger, "larger")
    packed = HERE / f"{name}.zip"
    cards = [part for file in test for part in ("--errors", file)]
    cards += [part for file in larger for part in ("--larger", file)]
    about = HERE / "about" / f"{name}.toml"
    run(
        "gh-export",
        options.model,
        "--to",
        "zip",
        "-o",
        packed,
        "--about",
        about,
        *cards,
        *(["--no-error-bars"] if options.no_error_bars else []),
        "--overwrite",
    )
    if packed.stat().st_size > LARGEST:
        raise SystemExit(
            f"{packed}: {packed.stat().st_size / 1e6:.2f} MB, above {LARGEST / 1e6} MB"
        )
    tested = set(read_card(name)["errors"]["test"]["by_structure"])
    # Of several stores the first that has structures of the test set
    frozen = (freeze(store, tested, options.cells, name) for store in options.labels)
    archive = next(filter(None, frozen))
    run(sys.executable, HERE.parent / "generate.py")
    for file in (packed, archive):
        print(f"{file}: {file.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
