"""The sources of a small chapter: one exercise, and a cell that needs no solution of it."""

from __future__ import annotations

LAB = '''\
# %% [markdown]
# # 1 · A lab
# Why?

# %%
from course_utils import lab
lab.start("01_small", exercises=["double"])

# %% [markdown]
# ## Doubling

# %% tags=["exercise:double"]
def double(x):
    """Return twice x."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% tags=["tests:double:1"]
with lab.test("double"):
    assert double(2) == 4

# %% tags=["hidden:double:2"]
def probe():
    return [double(-1), double(0.5)]


def visible():
    return double(2)

# %% tags=["experiment"]
print(double(21))
'''
LECTURE = """\
# %% [markdown]
# # A title

# %% tags=["hide-input"]
print(1)

# %% [markdown]
# ### Below

# %% [markdown] tags=["notes"]
# say this
"""
MUTANTS = """\
# %% tags=["mutant:double"]
# adds two
def double(x):
    return x + 2
"""
LIGHT = """\
import os
import time
class lab:
    def start(chapter, exercises):
        pass
    def budget(full, quick):
        return full if os.environ["COURSE_BUDGET"] == "full" else quick
    class test:
        def __init__(self, name):
            pass
        def __enter__(self):
            pass
        def __exit__(self, *failure):
            print("tested")
"""
