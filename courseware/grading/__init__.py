"""Grade a class: `course grade`.

intake    what was handed in: one submission for each student (inbox, layout, platforms, roster, sought, names, archive)
restore   a notebook, however damaged, laid over the one that was given out
box       a bubblewrap box for one kernel, and its limits
session   run a notebook in a box, bring back plain data
verdict   points, decided outside the box from that data
book      nbgrader's gradebook, feedback pages, the CSV
run       all of it, in parallel, resumable
"""
