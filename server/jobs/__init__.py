"""Jobs: what is wanted of the generators, remembered until it is there.

`values` says what a job is, `machine` how it lives (pure), `store` keeps the books (SQLite; a kill at any point loses
and doubles nothing), `desk` is what the HTTP layer and the lane ask, `webhooks` tells others.
"""
