"""Grade a class: `course grade`.

intake    what was handed in: one submission for each student (inbox, layout, platforms, roster, sought, names, archive)
restore   a notebook, however damaged, laid over the one that was given out
box       a bubblewrap box for one kernel, and its limits
session   run a notebook in a box, bring back plain data
verdict   points, decided outside the box from that data; cases: which kind of input fails
canary    the reference solution goes first
book      nbgrader's gradebook, and all that follows from a result
feedback  what a student's page says (words), made into HTML (page, markdown) by workers with limits (printing)
overview  the instructor's page; similar: answers that are nearly the same
sheets    tables for other programs; into: a learning platform's own sheet, and feedback for its importer
run       all of it, in parallel, resumable
gradescope  one lab's autograder for Gradescope
"""
