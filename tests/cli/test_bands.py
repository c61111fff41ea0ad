"""gh-bands through a shell, on real labels."""

import json

import numpy as np
import pytest


def test_picture_with_reference(gh, tiny_labels):
    line = f"gh-bands {tiny_labels} --structure 2 --path GMKG --points 40 --kpts 3 3 1"
    done = gh(f"{line} -o bands.png --json --reference {tiny_labels}")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["path"] == "bands.png" and facts["points"] == "GMKG"
    assert facts["structure"] == "wse2-s0-0002"
    # Strained by up to 2 %, the letters are those of the hexagonal lattice, and it is told where they are.
    assert facts["lattice"] == "primitive hexagonal" and 0 < facts["strain"] < 0.021
    assert sorted(facts["special_points"]) == ["G", "K", "M"]
    assert "letters of the primitive hexagonal lattice, from which the cell is" in done.stderr
    assert "  Γ = (0, 0, 0)" in done.stderr
    assert 0.3 < facts["band_gap"] < 1.8
    assert facts["bands_mae"] == facts["band_gap_error"] == facts["fermi_level_error"] == 0
    assert (gh.folder / "bands.png").read_bytes().startswith(b"\x89PNG")
    refused = gh(f"{line} -o bands.png")
    assert refused.returncode == 73 and "--overwrite" in refused.stderr


def test_data_through_a_pipe(gh, tiny_labels):
    done = gh(f"echo {tiny_labels} | gh-bands --path GK --points 12 -o bands.json")
    assert (done.returncode, done.stdout) == (0, "bands.json\n"), done.stderr
    data = json.loads((gh.folder / "bands.json").read_text())
    assert [point["name"] for point in data["special"]] == ["Γ", "K"]
    assert (len(data["energies"]), len(data["energies"][0])) == (1, 12)
    assert len(data["energies"][0][0]) == 27


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ("--path GXQ", 2, "expected points of the"),
        ("--path ''", 2, "--path '': expected two points or more in each part"),
        ("--window -1 inf", 2, "--window: expected two numbers, the lower energy first"),
        ("--structure nobody", 2, "wse2-s0-0000"),
        ("-o bands.bmp", 2, ".png, .pdf, .svg"),
        ("--window 1 0", 2, "lower energy first"),
        ("--reference missing.zarr", 66, "missing.zarr"),
        ("--unfold auto", 2, "no primitive cell was found"),
        ("--unfold 2,2", 2, "expected three numbers, or the nine of a matrix"),
        ("--unfold 2,2,2", 2, "nothing is repeated: give 1 there"),
        ("--unfold no.cif", 66, "there is no such file"),
        ("--width 0.1", 2, "give it with --unfold"),
    ],
)
def test_bad_options(gh, tiny_labels, options, code, said):
    done = gh(f"gh-bands {tiny_labels} -o x.png {options}")
    assert done.returncode == code, done.stderr
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == "" and list(gh.folder.iterdir()) == []


def test_unfolded_bands_of_a_primitive_cell_are_its_bands(gh, tiny_labels):
    line = f"gh-bands {tiny_labels} --path GMKG --points 9 --kpts 3 3 1 --json"
    folded = json.loads(gh(f"{line} -o plain.json").stdout)
    done = gh(f"{line} --unfold 1,1,1 -o unfolded.json --reference {tiny_labels}")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["band_gap"] == pytest.approx(folded["band_gap"], abs=1e-6)
    assert (facts["sites"], facts["orbitals"], facts["sharpness"]) == (3, 27, pytest.approx(1))
    plain, unfolded = (
        json.loads((gh.folder / f"{name}.json").read_text()) for name in ("plain", "unfolded")
    )
    np.testing.assert_allclose(unfolded["energies"], plain["energies"], atol=1e-9)
    assert unfolded["reference"]["energies"] == plain["energies"]
    assert gh(f"{line} --unfold 1,1,1 --window -3 3 -o unfolded.csv").returncode == 0
    text = (gh.folder / "unfolded.csv").read_text().splitlines()
    assert text[0].startswith("spin,kpoint,distance_1/A") and len(text) == 1 + 9 * 27
    again = gh(f"{line} --unfold {tiny_labels} -o unfolded.png")
    assert again.returncode == 0, again.stderr


def test_fat_bands_as_picture_and_numbers(gh, tiny_labels):
    line = f"gh-bands {tiny_labels} --path GK --points 12 --kpts 1 1 1 --project W,metalloid=Se"
    done = gh(f"{line} -o fat.png && {line} -o fat.json")
    assert done.returncode == 0, done.stderr
    assert (gh.folder / "fat.png").read_bytes().startswith(b"\x89PNG")
    bands = json.loads((gh.folder / "fat.json").read_text())
    assert bands["groups"] == ["W", "metalloid"]
    np.testing.assert_allclose(np.sum(bands["weights"], axis=0), 1, atol=1e-12)
    assert np.shape(bands["velocity"]) == np.shape(bands["energies"])
    for options in ("--project Xx", f"--project shell --reference {tiny_labels}"):
        refused = gh(f"gh-bands {tiny_labels} -o x.png {options}")
        assert refused.returncode == 2 and "Traceback" not in refused.stderr
