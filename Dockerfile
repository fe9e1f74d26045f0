# haraka-accounting: the worker (target `app`, the default) and the demo's sink and sender (target `demo`).
# Every package is pinned by its hash in requirements/.

FROM python:3.13.14-slim-bookworm AS base
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all: \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin accounting

FROM base AS build
WORKDIR /build
COPY requirements/dev.txt requirements/
RUN pip install --require-hashes -r requirements/dev.txt
COPY LICENSE README.md pyproject.toml ./
COPY worker worker
COPY schemas schemas
COPY config config
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM build AS demo
COPY haraka/__init__.py haraka/__init__.py
COPY haraka/demo/*.py haraka/demo/
RUN install --directory --owner=accounting --group=accounting /var/lib/haraka-sink
USER accounting
CMD ["python", "-m", "haraka.demo.sink", "--host", "0.0.0.0"]

FROM base AS app
COPY requirements/app.txt /tmp/app.txt
RUN pip install --require-hashes -r /tmp/app.txt && rm /tmp/app.txt
RUN --mount=from=build,source=/wheels,target=/wheels pip install --no-deps --no-index /wheels/*.whl
# A named volume that is mounted here takes over the owner.
RUN install --directory --owner=accounting --group=accounting /var/lib/haraka-accounting
WORKDIR /var/lib/haraka-accounting
VOLUME /var/lib/haraka-accounting
USER accounting
STOPSIGNAL SIGTERM
# Name a worker by ACCOUNTING_NAME or in the ini, so that its check knows it.
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s CMD ["haraka-accounting", "status", "--check"]
ENTRYPOINT ["haraka-accounting"]
CMD ["work"]
