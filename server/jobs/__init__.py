"""Jobs: what is wanted of the generators, remembered until it is there.

`values` says what a job is, `machine` how it lives (pure), `store` keeps the books (SQLite; a kill at any point loses
and doubles nothing), `spool` the files that jobs bring, `desk` is what the HTTP layer and the lane ask, `live` what is
told of a run and not written down, `webhooks` tells others. `steady`: loops that outlive what goes wrong in them.
"""
