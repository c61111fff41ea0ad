# Completions of gh-tools for bash: source this file.

# Stores of one kind, and folders that are no stores.
_gh_tools_stores() {
  local folder
  for folder in "$2"*/; do
    if [[ ! -e "${folder}zarr.json" ]]; then
      [[ -d "$folder" ]] && echo "$folder"
    elif grep -qs "^    \"kind\": \"$1\"" "${folder}zarr.json"; then
      echo "${folder%/}"
    fi
  done
}

_gh_tools() {
  local options="" words="" keys="" kind="" key=""
  # bash takes the equals sign for a word: of --set KEY=VALUE it stands before the value.
  local typed="$2" previous="$3"
  [[ "$typed" == "=" ]] && typed=""
  if [[ "${COMP_WORDS[COMP_CWORD]}" == "=" ]]; then key="${COMP_WORDS[COMP_CWORD - 1]}"; fi
  if [[ "$previous" == "=" ]]; then key="${COMP_WORDS[COMP_CWORD - 2]}"; fi
  [[ "$key" ]] && set -- "$1" "$typed" "=$key"
  case "${1##*/}" in
    gh-tools)
      options="--json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      ;;
    gh-build)
      options="-n --number --list --anneal --relax --every -o --output -c --config --set --print-config --seed -j --jobs --resume --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words="file litfsi wse2 tmd agau sio2 hfo2 hfo2-wse2"
      case " ${COMP_WORDS[*]} " in
        *" litfsi "*) keys="recipe minimum_distance anneal.calculator anneal.options anneal.relax anneal.relax_options anneal.first_fmax anneal.relax_cell anneal.temperatures anneal.steps anneal.time_step anneal.largest_move anneal.coupling anneal.final_fmax anneal.max_steps rattle" ;;
        *" wse2 "*) keys="recipe minimum_distance anneal.calculator anneal.options anneal.relax anneal.relax_options anneal.first_fmax anneal.relax_cell anneal.temperatures anneal.steps anneal.time_step anneal.largest_move anneal.coupling anneal.final_fmax anneal.max_steps size cells orthogonal lattice_constant thickness vacuum strain se_vacancies rattle" ;;
        *" tmd "*) keys="recipe minimum_distance anneal.calculator anneal.options anneal.relax anneal.relax_options anneal.first_fmax anneal.relax_cell anneal.temperatures anneal.steps anneal.time_step anneal.largest_move anneal.coupling anneal.final_fmax anneal.max_steps materials size cells vacuum strain rattle" ;;
        *" agau "*) keys="recipe minimum_distance anneal.calculator anneal.options anneal.relax anneal.relax_options anneal.first_fmax anneal.relax_cell anneal.temperatures anneal.steps anneal.time_step anneal.largest_move anneal.coupling anneal.final_fmax anneal.max_steps size cells cubic lattice_constant gold rattle" ;;
        *" sio2 "*) keys="recipe minimum_distance anneal.calculator anneal.options anneal.relax anneal.relax_options anneal.first_fmax anneal.relax_cell anneal.temperatures anneal.steps anneal.time_step anneal.largest_move anneal.coupling anneal.final_fmax anneal.max_steps molecules density radii" ;;
        *" hfo2 "*) keys="recipe minimum_distance anneal.calculator anneal.options anneal.relax anneal.relax_options anneal.first_fmax anneal.relax_cell anneal.temperatures anneal.steps anneal.time_step anneal.largest_move anneal.coupling anneal.final_fmax anneal.max_steps molecules density radii" ;;
        *" hfo2-wse2 "*) keys="recipe minimum_distance anneal.calculator anneal.options anneal.relax anneal.relax_options anneal.first_fmax anneal.relax_cell anneal.temperatures anneal.steps anneal.time_step anneal.largest_move anneal.coupling anneal.final_fmax anneal.max_steps molecules density radii size cells orthogonal lattice_constant thickness vacuum strain se_vacancies rattle nickel distance" ;;
        *) keys="standardize pbc vacuum size cells atoms strain shear vacancies substitute adsorb height rattle recipe minimum_distance anneal.calculator anneal.options anneal.relax anneal.relax_options anneal.first_fmax anneal.relax_cell anneal.temperatures anneal.steps anneal.time_step anneal.largest_move anneal.coupling anneal.final_fmax anneal.max_steps paths images format units" ;;
      esac
      case "$3" in
        --anneal) words="emt xtb chgnet sevennet lammps mace" ;;
        --relax) words="emt xtb chgnet sevennet lammps mace" ;;
        --set) words=$keys; keys="=" ;;
        =anneal.relax_cell) words="true false" ;;
        =orthogonal) words="true false" ;;
        =cubic) words="true false" ;;
      esac
      ;;
    gh-label)
      options="-o --output --preset -c --config --set --print-config --logs -j --jobs --scheduler --shard --resume --overwrite --dry-run --convergence --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      keys="xc basis basis_by_element energy_shift confined_type setups hubbard h kpoint_density kpts kpts_shift smearing convergence.density convergence.energy mixing max_iterations spin magmoms charge vacuum threshold pair_cutoff"
      case "$3" in
        --preset) words="agau hfo2 hfo2-wse2 litfsi sio2 tmd wse2" ;;
        --set) words=$keys; keys="=" ;;
        =spin) words="paired collinear" ;;
      esac
      ;;
    gh-import)
      options="-f --format -o --output --valence --spin-independent -j --jobs --resume --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      ;;
    gh-fit-scaleshift)
      options="-o --output --fractions --split --onsite-fit --no-onsite-fit --seed --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      ;;
    gh-train)
      options="-c --config --set --hamiltonians --split --from --budget --ensemble --plot -o --output --seed --overwrite --resume --dry-run --print-config --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      keys="model.model model.cutoff model.pair_cutoff model.max_degree model.n_radial model.n_embedding model.product_features model.atom_features model.onsite_features model.bond_tensors model.bond_pseudotensors model.bond_features model.hidden model.n_layers model.norm_epsilon model.atom_centered.radial_basis.cutoff model.atom_centered.radial_basis.n_radial model.atom_centered.radial_basis.max_degree model.atom_centered.radial_basis.n_embedding model.atom_centered.radial_basis.radial_function model.atom_centered.radial_basis.cutoff_function model.atom_centered.n_tensor_dense model.atom_centered.tensor_features model.atom_centered.tensor_product model.atom_centered.attention.n_heads model.atom_centered.attention.features model.atom_centered.max_degree model.bond_centered.cutoff model.bond_centered.n_radial model.bond_centered.max_degree model.bond_centered.features model.bond_centered.radial_function model.bond_centered.tensor_product model.mlp.layers model.mlp.activation ensemble precision data.batch_size data.bucket_count optimizer.learning_rate optimizer.clip optimizer.name optimizer.b1 optimizer.b2 optimizer.b3 optimizer.eps optimizer.weight_decay optimizer.nesterov schedule.warmup_steps schedule.name schedule.factor schedule.patience schedule.rtol schedule.cooldown schedule.min_scale schedule.final_scale loss.pairs loss.onsite loss.eigenvalues loss.rmse loss.mae loss.scale_power early_stopping.patience early_stopping.min_delta metrics.interval metrics.eigenvalue_interval metrics.eigenvalue_structures metrics.window metrics.ghost_distance epochs budget ema last_layers seed checkpoint_interval"
      case "$3" in
        --from) kind=model words="hfo2 hfo2-wse2 sio2 tmd wse2" ;;
        --set) words=$keys; keys="=" ;;
        =model.model) words="bond-frame gears-h" ;;
        =model.atom_centered.radial_basis.radial_function) words="basic_fourier basic_bernstein basic_chebyshev basic_gaussian" ;;
        =model.atom_centered.radial_basis.cutoff_function) words="smooth_cutoff cosine_cutoff" ;;
        =model.atom_centered.tensor_product) words="full fused" ;;
        =model.bond_centered.radial_function) words="basic_fourier basic_bernstein basic_chebyshev basic_gaussian" ;;
        =model.bond_centered.tensor_product) words="full fused" ;;
        =model.mlp.activation) words="bent_identity mish silu" ;;
        =precision) words="float32 float64" ;;
        =optimizer.name) words="adan lamb adam adamw" ;;
        =optimizer.nesterov) words="true false" ;;
        =schedule.name) words="constant reduce_on_plateau exponential cosine" ;;
      esac
      ;;
    gh-infer)
      options="-m --model --part --strict --error-bars --no-error-bars -o --output -j --jobs --memory --scheduler --shard --resume --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      case "$3" in
        --part) words="train validation test" ;;
        -m|--model) kind=model words="hfo2 hfo2-wse2 sio2 tmd wse2" ;;
      esac
      ;;
    gh-select)
      options="-n --number -m --model -o --output --overwrite --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      case "$3" in
        -m|--model) kind=model words="hfo2 hfo2-wse2 sio2 tmd wse2" ;;
      esac
      ;;
    gh-export)
      options="-t --to -o --output --kpoint --soc --about --errors --larger --error-bars --no-error-bars --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      ;;
    gh-overlap)
      options="-b --basis -o --output --resume --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      ;;
    gh-dos)
      options="--kpts --kpt-density --width --points --window --soc --fermi --smearing --carriers --carrier-window --solver --engine --project --along --states --projection --memory --plot --reference --zero -o --output -j --jobs --scheduler --shard -c --config --set --print-config --resume --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      keys="kpts kpoint_density fermi soc smearing project groups group_atoms projection along layer_gap width points window solver engine position_spacing position_width edge_threshold states probes seed carriers carrier_window"
      case "$3" in
        --fermi) words="count label" ;;
        --solver) words="auto dense slices kpm" ;;
        --engine) words="auto pardiso mumps superlu" ;;
        --project) words="species shell atom layer spin groups" ;;
        --projection) words="mulliken lowdin" ;;
        --zero) words="auto fermi valence" ;;
        --set) words=$keys; keys="=" ;;
        =fermi) words="count label" ;;
        =soc) words="true false" ;;
        =project) words="species shell atom layer spin groups" ;;
        =projection) words="mulliken lowdin" ;;
        =solver) words="auto dense slices kpm" ;;
        =engine) words="auto pardiso mumps superlu" ;;
      esac
      ;;
    gh-bands)
      options="--structure --path --points --window --zero --reference --kpts --soc --unfold --width --project --fermi -o --output -c --config --set --print-config --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      keys="kpts kpoint_density fermi soc smearing project groups group_atoms projection along layer_gap"
      case "$3" in
        --zero) words="auto fermi valence" ;;
        --project) words="species shell atom layer spin groups" ;;
        --fermi) words="count label" ;;
        --set) words=$keys; keys="=" ;;
        =fermi) words="count label" ;;
        =soc) words="true false" ;;
        =project) words="species shell atom layer spin groups" ;;
        =projection) words="mulliken lowdin" ;;
      esac
      ;;
    gh-ldos)
      options="--structure --window --state --kpoint --spin --height --spacing --kpts --soc -o --output -c --config --set --print-config --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      keys="kpts kpoint_density fermi soc smearing"
      case "$3" in
        --set) words=$keys; keys="=" ;;
        =fermi) words="count label" ;;
        =soc) words="true false" ;;
      esac
      ;;
    gh-optics)
      options="--structure --window --width --kpts --soc --scissors -o --output -c --config --set --print-config --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      keys="kpts kpoint_density fermi soc smearing window points width scissors positions"
      case "$3" in
        --set) words=$keys; keys="=" ;;
        =fermi) words="count label" ;;
        =soc) words="true false" ;;
        =positions) words="auto basis atoms" ;;
      esac
      ;;
    gh-transport)
      options="--axis --left --right --structure --window --points --kpts --soc -o --output --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      case "$3" in
        --axis) words="a b c" ;;
      esac
      ;;
    gh-bayes)
      options="-o --output --chains --draws --tune --seed --prior --measurement-error --hdi --strict --plot --plot-data -j --jobs --overwrite --dry-run --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      ;;
    gh-eval)
      options="--plot --noise --seed --overwrite --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      ;;
    gh-info)
      options="--check --deep --plot --structure --table --csv --weights --models --overwrite --json -q --quiet -v --verbose --debug --version -h --help"
      words=""
      ;;
  esac
  if [[ "$typed" == -* ]]; then words=$options; fi
  if [[ "$kind" ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$typed"; _gh_tools_stores "$kind" "$typed")
    return
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$typed")
  # Behind a key comes its value.
  if [[ "$keys" == "=" ]]; then
    COMPREPLY=("${COMPREPLY[@]/%/=}")
    compopt -o nospace 2> /dev/null
  fi
}
complete -o bashdefault -o default -F _gh_tools gh-tools gh-build gh-label gh-import gh-fit-scaleshift gh-train gh-infer gh-select gh-export gh-overlap gh-dos gh-bands gh-ldos gh-optics gh-transport gh-bayes gh-eval gh-info
