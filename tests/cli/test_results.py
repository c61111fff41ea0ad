import json

from gh_tools.cli.results import emit


def test_results_are_lines_of_paths_or_of_json(tmp_path, capsys):
    emit(tmp_path, False, n=3)
    emit(tmp_path, True, n=3)
    plain, line = capsys.readouterr().out.splitlines()
    assert plain == str(tmp_path)
    assert json.loads(line) == {"path": str(tmp_path), "n": 3}
