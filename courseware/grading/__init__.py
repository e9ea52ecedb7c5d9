"""Grade a class: `course grade`.

intake          what was handed in: one submission for each student (layout, platforms, uploads, archive, roster,
                student_names, lab_match)
restore         a notebook, however damaged, laid over the one that was given out
box             a bubblewrap box for one kernel (zygote starts it, seccomp, cgroup and watch limit it)
session         run a notebook in a box (execution, in_kernel), bring back plain data (wire)
verdict         points, decided outside the box from that data (comparator, in a comparison_process); failing_cases: which
                kind of input fails
canary          the reference solution goes first
gradebook       nbgrader's gradebook, and all that follows from a result
feedback        what a student's page says (messages), made into HTML (feedback_page, markdown) by page_workers with limits
overview        the instructor's page; similarity: answers that are nearly the same
spreadsheets    tables for other programs; lms_sheet: a learning platform's own sheet, and feedback for its importer
scheduler       all of it, in parallel (workers, autograde), resumable
term            several labs in one table
gradescope      one lab's autograder for Gradescope
demo            a small class to try it on
"""
