#!/usr/bin/env bash
# Set up and run the main job on real input: from DFT labels of small WSe2 cells with Se vacancies to
# a trained model, spectra of structures it has not seen, and a Bayesian regression. About ten
# minutes on two cores; running it again does nothing. Results: quickstart/.
. "$(dirname "$0")/setup.sh" .
mkdir -p quickstart
exec make --no-print-directory -C quickstart -f ../share/gh_tools/examples/quickstart/Makefile "$@"
