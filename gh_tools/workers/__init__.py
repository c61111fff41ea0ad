"""Executors, which run tasks: in this process, in processes of this machine, or on a Dask cluster.

A task is a function that can be imported by name, and its arguments. Whoever has tasks asks an executor to
run them, and gets results as they finish; a task that fails gives a `Failure`, and a worker that dies costs
no more than the task at hand. So that this holds for whole runs, tasks write their results themselves
(see `gh_tools.store.partial.Parts`), where they are safe whatever happens to who asked for them.
"""
