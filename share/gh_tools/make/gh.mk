# Pattern rules for gh-tools: include this file, and name the stores that you want.
#
#   include gh.mk
#   all: wse2.predicted.spectra.zarr/zarr.json
#
# A store is a directory; make watches the file zarr.json in it, which is written last. `make X.model.zarr` makes
# X.model.zarr/zarr.json; in rules of your own, name the file.
#
#   X.hamiltonians.zarr       from X.structures.zarr      by DFT              LABEL_FLAGS
#   X.scaleshift.zarr         from X.hamiltonians.zarr                        SCALESHIFT_FLAGS
#   X.model.zarr              from X.scaleshift.zarr      by training         TRAIN_FLAGS
#   X.predicted.zarr          from X.structures.zarr      and $(MODEL)        INFER_FLAGS; MODEL may be a name of gh-info --models
#   X.predicted.spectra.zarr  from X.predicted.zarr                           DOS_FLAGS
#   X.spectra.zarr            from X.hamiltonians.zarr                        DOS_FLAGS
#   X.posterior.zarr          from X.predicted.spectra.zarr, with $(FORMULA)  BAYES_FLAGS
#
# Flags may name a cluster: `LABEL_FLAGS = --scheduler scheduler.json`.
# Flags can be set for one store alone: `big.predicted.spectra.zarr/zarr.json: DOS_FLAGS = --kpts 1 1 1`.
# X.structures.zarr is yours to make, with gh-build.

# Put before each command, such as nice or srun.
RUN ?=
MODEL ?=
FORMULA ?=

# Make with ANEW=1 to start anew what was left unfinished with other settings or inputs, which else stops
# make: what was finished of it is then discarded.
ANEW ?=
# Make with ACCEPT_FAILURES=1 to go on without the structures that failed.
ACCEPT_FAILURES ?=

# A store of which structures failed is not up to date, whatever its date: make tries them again.
failed := $(if $(ACCEPT_FAILURES),,$(shell grep -lE '"failed": *\[ *([^] ]|$$)' /dev/null $(wildcard *.zarr/zarr.json */*.zarr/zarr.json)))
goal := $(.DEFAULT_GOAL)
$(failed): .again
.PHONY: .again
.again:
.DEFAULT_GOAL := $(goal)

# Where an error makes make delete targets (.DELETE_ON_ERROR, Ctrl-C), finished work would go. A store with a rule of
# its own needs its name here, too, or pattern for pattern that of its rule.
.PRECIOUS: %.hamiltonians.zarr/zarr.json %.scaleshift.zarr/zarr.json %.model.zarr/zarr.json \
	%.predicted.zarr/zarr.json %.predicted.spectra.zarr/zarr.json %.spectra.zarr/zarr.json %.posterior.zarr/zarr.json

# An interrupted run, and one in which structures failed, is taken up again; else what is there is out of
# date, and replaced.
# $(call gh,COMMAND AND OPTIONS,OUTPUT STORE,INPUTS)
define gh
$(RUN) $(1) $(if $(ANEW),--overwrite,$(if $(wildcard $(2).partial)$(filter $(2)/zarr.json,$(failed)),--resume,--overwrite)) -o $(2) $(3)
endef

# The store that a file zarr.json belongs to.
store = $(patsubst %/zarr.json,%,$(1))

%.hamiltonians.zarr/zarr.json: %.structures.zarr/zarr.json
	$(call gh,gh-label $(LABEL_FLAGS),$(call store,$@),$(call store,$<))

%.scaleshift.zarr/zarr.json: %.hamiltonians.zarr/zarr.json
	$(RUN) gh-fit-scaleshift $(SCALESHIFT_FLAGS) --overwrite -o $(call store,$@) $(call store,$<)

%.model.zarr/zarr.json: %.scaleshift.zarr/zarr.json
	$(call gh,gh-train $(TRAIN_FLAGS),$(call store,$@),$(call store,$<))

# The model, where it is a store: a model that comes with gh-tools is not made. In the rule itself % would be the stem.
own_model = $(filter %.zarr,$(MODEL))

# Expanded when the rule is used, so that MODEL may be set after this file is included.
.SECONDEXPANSION:
%.predicted.zarr/zarr.json: %.structures.zarr/zarr.json $$(addsuffix /zarr.json,$$(own_model))
	$(call gh,gh-infer --model $(MODEL) $(INFER_FLAGS),$(call store,$@),$(call store,$<))

%.predicted.spectra.zarr/zarr.json: %.predicted.zarr/zarr.json
	$(call gh,gh-dos $(DOS_FLAGS),$(call store,$@),$(call store,$<))

%.spectra.zarr/zarr.json: %.hamiltonians.zarr/zarr.json
	$(call gh,gh-dos $(DOS_FLAGS),$(call store,$@),$(call store,$<))

%.posterior.zarr/zarr.json: %.predicted.spectra.zarr/zarr.json
	$(RUN) gh-bayes '$(FORMULA)' $(BAYES_FLAGS) --overwrite -o $(call store,$@) $(call store,$<)

# A folder's date says nothing of what is in it: always ask for the file.
%.zarr: .folder %.zarr/zarr.json ;
.PHONY: .folder

# Intermediate stores are worth keeping.
.SECONDARY:
