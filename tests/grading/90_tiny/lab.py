# %% [markdown]
# # A lab as small as a lab can be
#
# It has all that a lab has, and runs in a second: the attacks and the damaged notebooks of these tests are about the grader.

# %% tags=["experiment"]
from course_utils import lab

lab.start("90_tiny", exercises=["double", "total"])

# %%
import numpy as np


# %% tags=["exercise:double"]
def double(x):
    """Twice x. x: float64 array of any shape; returns the same shape."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION


# %% tags=["tests:double:1"]
assert np.allclose(double(np.array([1.0, 2.0])), [2.0, 4.0]), "twice 1 and 2 is 2 and 4"


# %% tags=["hidden:double:2"]
def probe():
    marker = "HIDDEN-MARKER-1"
    x = np.array([[0.5, -3.0], [7.0, 0.0]])
    return {
        "y": double(x),  # because: an array with two axes
        "x after": x,  # because: the array you were given, which must stay as it was
    }


def visible():
    return [double(np.array([1.0, 2.0]))]


def check(got, want):
    secret = "OUTSIDE-MARKER"
    close(got, want)


# %% [markdown]
# ## The second one


# %% tags=["exercise:total"]
def total(values):
    """Sum of a list of floats; 0.0 for an empty one."""
    ### BEGIN SOLUTION
    return float(sum(values))
    ### END SOLUTION


# %% tags=["tests:total:1"]
assert total([1.0, 2.0]) == 3.0, "1 and 2 make 3"


# %% tags=["hidden:total:2"]
def probe():
    marker = "HIDDEN-MARKER-2"
    return [
        total([]),  # because: an empty list
        total([2.5, -0.5]),  # because: negative numbers
        total([1e3] * 10),
    ]


def visible():
    return [total([1.0, 2.0])]
