"""gh-infer through a shell."""

import json

import ase
import pytest

from gh_tools.store.checks.arrays import check_arrays
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.store.structures import Structures, read_structures, write_structures
from gh_tools.trained_model.domain import Domain
from gh_tools.trained_model.environments import Environments
from gh_tools.trained_model.outside import read_domain
from tests.conftest import tiny_configuration


@pytest.fixture
def cells(gh, tiny_labels):
    """A store of one larger cell."""
    atoms = read_structures(tiny_labels).atoms[0].repeat((2, 2, 1))
    path = gh.folder / "x.structures.zarr"
    return write_structures(path, Structures([atoms], ["large"]), Provenance("gh-build"))


def test_pipe_predicts(gh, cells, random_model):
    done = gh(f"echo x.structures.zarr | gh-infer -m {random_model} --json")
    assert done.returncode == 0, done.stderr
    facts = {"path": "x.predicted.zarr", "n": 1, "atoms": 12, "failed": []}
    found = json.loads(done.stdout)
    outside = found.pop("outside")
    assert found == facts
    # What standard error says of structures unlike the training set is among the facts.
    assert all(text in done.stderr for texts in outside.values() for text in texts)
    store = open_store(gh.folder / "x.predicted.zarr", "hamiltonians")
    assert list(check_arrays(store)) == [] and store.attributes["predicted"] is True
    assert HamiltonianReader(store).read(0).n_orbitals == 12 * 9
    programs = [entry["program"] for entry in store.history]
    assert "gh-infer" in programs[-1] and "gh-train" in programs
    assert gh(f"gh-infer x.structures.zarr -m {random_model}").returncode == 73
    assert sorted(p.name for p in gh.folder.iterdir()) == ["x.predicted.zarr", "x.structures.zarr"]


def test_dry_run_writes_nothing(gh, cells, random_model):
    done = gh(f"gh-infer x.structures.zarr -m {random_model} --dry-run")
    assert (done.returncode, done.stdout) == (0, "")
    assert "1 structure (up to 12 atoms)" in done.stderr
    assert [p.name for p in gh.folder.iterdir()] == ["x.structures.zarr"]


def test_structures_unlike_the_training_set_are_warned_of_or_refused(call, tmp_path, random_model):
    learned = read_structures(open_store(random_model)).atoms[0]
    alike, vacancy, bulk = learned.repeat((2, 2, 1)), learned.repeat((3, 3, 1)), learned.copy()
    del vacancy[next(atom.index for atom in vacancy if atom.symbol == "Se")]
    bulk.pbc = True
    for name, atoms in (("alike", alike), ("vacancy", vacancy), ("bulk", bulk)):
        path = tmp_path / f"{name}.structures.zarr"
        write_structures(path, Structures([atoms], [name]), Provenance("gh-build"))
    done = call(f"gh-infer alike.structures.zarr -m {random_model} --dry-run", tmp_path)
    assert (done.returncode, "unlike" in done.stderr) == (0, False), done.stderr
    assert "there are no out-of-domain scores" in done.stderr
    done = call(f"gh-infer vacancy.structures.zarr -m {random_model} --dry-run", tmp_path)
    assert done.returncode == 0
    assert "vacancy: is unlike the training set: 3 W with 11 neighbours" in done.stderr
    done = call(f"gh-infer vacancy.structures.zarr -m {random_model} --strict", tmp_path)
    assert (done.returncode, done.stdout) == (65, "")
    assert "error: vacancy: unlike the training set of" in done.stderr
    assert not (tmp_path / "vacancy.predicted.zarr").exists()
    done = call(f"gh-infer alike.structures.zarr -m {random_model} --strict --dry-run", tmp_path)
    assert done.returncode == 0
    done = call(f"gh-infer bulk.structures.zarr -m {random_model}", tmp_path)
    assert (done.returncode, done.stdout) == (65, "")
    assert "bulk is a bulk crystal, but" in done.stderr
    assert "trained on layers" in done.stderr
    assert " layers of Se 66.7 %, W 33.3 %" in call(f"gh-info {random_model}", tmp_path).stdout


def test_environments_are_told_refused_and_drawn(call, tmp_path, tiny_scaleshift, monkeypatch):
    """A trained model tells environments unlike its own, which ranges do not: atoms moved apart and together."""
    (tmp_path / "t.toml").write_text(tiny_configuration(1))
    call(f"gh-train {tiny_scaleshift} -c t.toml -o x.model.zarr -q", tmp_path)
    learned = read_structures(open_store(tmp_path / "x.model.zarr")).atoms[0]
    moved = learned.repeat((2, 2, 1))
    moved.positions[1] += 0.7 * (moved.positions[0] - moved.positions[1])
    # Three structures that were left out hardly know a scatter: the limit would be far.
    monkeypatch.setattr(Environments, "limit", lambda self, *_: 0.05 * self.left_out.mean())
    both = Structures([learned.repeat((2, 2, 1)), moved], ["alike", "moved"])
    write_structures(tmp_path / "s.structures.zarr", both, Provenance("gh-build"))
    done = call("gh-infer s.structures.zarr -m x.model.zarr -o p.zarr --json", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "moved: is unlike the training set: environment" in done.stderr
    facts = json.loads(done.stdout)
    assert list(facts["outside"]) == ["moved"]
    assert facts["outside"]["moved"][-1].startswith("environment")
    assert call("gh-info p.zarr --plot p.png", tmp_path).returncode == 0
    assert (tmp_path / "p.png").stat().st_size > 10_000
    domain = read_domain(open_store(tmp_path / "x.model.zarr"))
    monkeypatch.setattr(Domain, "departures", lambda *_: [])  # the ranges say nothing
    assert domain.departures(moved) == []
    done = call("gh-infer s.structures.zarr -m x.model.zarr -o q.zarr --strict", tmp_path)
    assert done.returncode == 65 and not (tmp_path / "q.zarr").exists()
    assert done.stderr.splitlines()[-1].startswith("gh-infer: error: moved: unlike the training")
    done = call("gh-info s.structures.zarr --plot q.png", tmp_path)
    assert done.returncode == 2 and "name one store of these" in done.stderr


def test_errors_are_one_sentence(gh, cells, random_model, tiny_scaleshift):
    other = Structures([ase.Atoms("MoSe2", [[0, 0, 0], [0, 0, 2], [0, 0, -2]])], ["other"])
    write_structures(gh.folder / "mo.structures.zarr", other, Provenance("gh-build"))
    before = sorted(gh.folder.iterdir())
    cases = [
        (f"gh-infer mo.structures.zarr -m {random_model}", 65, "no basis is known for Mo"),
        ("gh-infer x.structures.zarr", 2, "--model"),
        (f"gh-infer x.structures.zarr -m {tiny_scaleshift}", 65, "expected a store of kind model"),
        ("gh-infer x.structures.zarr -m none.zarr", 66, "no such store"),
        (f"gh-infer {tiny_scaleshift} -m {random_model}", 65, "found scaleshift"),
        (f"true | gh-infer -m {random_model}", 66, "upstream command produced nothing"),
        (f"gh-infer x.structures.zarr -m {random_model} --memory much", 2, "such as 6G"),
        (f"gh-infer x.structures.zarr -m {random_model} --shard 3/2", 2, "expected I/N"),
        (f"gh-infer x.structures.zarr mo.structures.zarr -m {random_model} -o y", 2, "--output"),
    ]
    for line, code, message in cases:
        done = gh(line)
        assert done.returncode == code, (line, done.stderr)
        assert message in done.stderr and done.stderr.count("\n") == 1
        assert done.stdout == "" and sorted(gh.folder.iterdir()) == before
