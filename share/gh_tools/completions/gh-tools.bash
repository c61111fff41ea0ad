# Completions of gh-tools for bash: source this file.
_gh_tools() {
  local options="" words=""
  case "${1##*/}" in
    gh-tools)
      options="--json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      ;;
    gh-build)
      options="-n --number --list --anneal --every -o --output -c --config --set --print-config --seed -j --jobs --resume --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words="file litfsi wse2 tmd agau sio2 hfo2 hfo2-wse2"
      ;;
    gh-label)
      options="-o --output --preset -c --config --set --print-config -j --jobs --scheduler --shard --resume --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      ;;
    gh-fit-scaleshift)
      options="-o --output --fractions --split --onsite-fit --no-onsite-fit --seed --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      ;;
    gh-train)
      options="-c --config --set --hamiltonians --split --from --budget --ensemble --plot -o --output --seed --overwrite --resume --dry-run --print-config --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      ;;
    gh-infer)
      options="-m --model --part -o --output -j --jobs --memory --scheduler --shard --resume --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      case "$3" in
        --part) words="train validation test" ;;
      esac
      ;;
    gh-overlap)
      options="-b --basis -o --output --resume --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      ;;
    gh-dos)
      options="--kpts --kpt-density --width --points --window --fermi --smearing --carriers --carrier-window --solver --engine --projection --memory --plot --reference -o --output -j --jobs --scheduler --shard -c --config --set --print-config --resume --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      ;;
    gh-bands)
      options="--structure --path --points --window --reference --kpts --fermi -o --output -c --config --set --print-config --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      ;;
    gh-bayes)
      options="-o --output --chains --draws --tune --seed --prior --hdi --strict --plot --plot-data -j --jobs --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      ;;
    gh-eval)
      options="--plot --overwrite --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      ;;
    gh-info)
      options="--check --deep --plot --overwrite --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      ;;
  esac
  if [[ "$2" == -* ]]; then words=$options; fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$2")
}
complete -o bashdefault -o default -F _gh_tools gh-tools gh-build gh-label gh-fit-scaleshift gh-train gh-infer gh-overlap gh-dos gh-bands gh-bayes gh-eval gh-info
