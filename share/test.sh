#!/usr/bin/env bash
# Set up and run the tests: bash share/test.sh [arguments of pytest]
. "$(dirname "$0")/setup.sh" '.[dev]'
# The tests of a file stay in one process, so that what they share is made once; long files, which have few tests, do
# not come last.
exec python -m pytest -n auto --dist loadfile --no-loadscope-reorder "$@"
