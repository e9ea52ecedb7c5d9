# For a grading machine, and for a JupyterHub that starts containers:
#   docker build -t llm-course .
#   docker run --rm -it --security-opt seccomp=unconfined --security-opt apparmor=unconfined -v "$PWD":/class llm-course \
#     course grade 10_quantization /class/submitted --out /class/graded
#   docker run --rm -p 8888:8888 llm-course
# The two options let bubblewrap make boxes inside the container; who only learns needs none of them.
FROM python:3.12-slim-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap chromium fonts-noto-cjk git make \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 learner
WORKDIR /course
RUN chown learner /course
USER learner
COPY --chown=learner start.py requirements.lock pyproject.toml README.md LICENSE Makefile ./
COPY --chown=learner course_utils course_utils
COPY --chown=learner courseware courseware
RUN python start.py && .venv/bin/python -m pip install --no-cache-dir jupyterhub nbgitpuller
COPY --chown=learner . .
ENV PATH=/course/.venv/bin:$PATH
RUN course fetch
EXPOSE 8888
CMD ["course", "lab", "--no-browser", "--ip", "0.0.0.0"]
