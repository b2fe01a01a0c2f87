"""3D assets made beside live perception, on the same devices, and never at the cost of a phone's pose.

A provider (`provider`, `providers/`) runs in a process of its own (`worker`, standard library only) and stops between
two blocks of work whenever perception raises the gate (`gate`, shared memory that perception writes and never waits
on). The lane decides what runs when; `server.jobs` remembers what is wanted, `server.assets` publishes what was made.
"""
