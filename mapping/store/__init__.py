"""One scene on disk: nothing acknowledged is ever lost, whatever happens to the process.

Enter: records. Leave: the scene they add up to. `scene_store.py` is the way in; `log.py` is the promise, `state.py` the
meaning, `directory.py` the files, `roll_up.py` the program that folds a log into a zarr snapshot. May import:
`mapping.disk`, `mapping.changes`, `mapping.transforms`; numpy, msgspec, zarr. No threads of its own, no clock.
"""
