# Completions of gh-tools for bash: source this file.
_gh_tools() {
  local options="" words=""
  case "${1##*/}" in
    gh-build)
      options="-n --number --list -o --output -c --config --set --print-config --seed --overwrite --dry-run --json -q --quiet -v --verbose --debug -h --help"
      words="file wse2"
      ;;
    gh-train)
      options="-c --config --set --hamiltonians --split -o --output --seed --overwrite --resume --dry-run --print-config --json -q --quiet -v --verbose --debug -h --help"
      words=""
      ;;
    gh-info)
      options="--check --deep --json -q --quiet -v --verbose --debug -h --help"
      words=""
      ;;
  esac
  if [[ "$2" == -* ]]; then words=$options; fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$2")
}
complete -o bashdefault -o default -F _gh_tools gh-build gh-train gh-info
