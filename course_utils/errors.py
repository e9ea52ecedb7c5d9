"""Errors whose message is meant for a person: what is wrong, what we found, what to do."""

from __future__ import annotations

from .language import sentences, t


class CourseError(RuntimeError):
    """Base of every error that the course raises on purpose.

    In a notebook only the message is shown: the calls inside the helper that led to it help nobody.
    """

    def _render_traceback_(self) -> list[str]:
        """Called by IPython instead of formatting a traceback."""
        return [f"{type(self).__name__}: {self}"]


class UnknownNameError(CourseError, ValueError):
    """A model, precision, task, table or exercise name that does not exist."""

    @classmethod
    def of(cls, kind: str, name: object, known: list[str], near: list[str] | None = None) -> UnknownNameError:
        """Name the unknown thing, the nearest known ones (by spelling, or `near`), and all that are known.

        Args:
            kind: what it should have been, in the reader's language.
        """
        from difflib import get_close_matches

        if near is None:
            by_lower = {k.lower(): k for k in known}
            near = [by_lower[k] for k in get_close_matches(str(name).lower(), list(by_lower), n=3, cutoff=0.5)]
        parts = [t("There is no {kind} called {name!r}.", kind=kind, name=name)]
        parts += [t("Did you mean {names}?", names=t(" or ").join(map(repr, near)))] if near else []
        return cls(sentences(*parts, t("Known: {names}.", names=", ".join(known))))


class ArgumentError(CourseError, ValueError):
    """An argument that contradicts another, or that nothing here follows."""


class DownloadError(CourseError):
    """A file could not be brought: no network, a cut download, a registry or hub that says no."""


class ChecksumError(DownloadError):
    """A file arrived, but it is not the file that the course pins."""


class DiskFullError(CourseError):
    """Not enough room on the disk that holds the cache."""
