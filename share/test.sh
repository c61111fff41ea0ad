#!/usr/bin/env bash
# Set up and run the tests: bash share/test.sh [arguments of pytest]
. "$(dirname "$0")/setup.sh" '.[dev]'
exec python -m pytest -n auto --dist loadgroup "$@"
