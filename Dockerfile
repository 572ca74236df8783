# kwsd for amd64 and arm64:   docker build -t kwsd .
# How to run it, and what was proven of it: docs/install.md.

FROM python:3.12-slim-bookworm AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc g++ libc6-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# A wheel without its native parts would run on numpy, unheard: refuse it here.
RUN python -m venv /opt/kwsd \
 && /opt/kwsd/bin/pip install --no-cache-dir '.[mqtt,wyoming]' \
 && test -n "$(find /opt/kwsd -name libkwsdsp.so)" \
 && test -n "$(find /opt/kwsd -name libkwscapture.so)"

FROM python:3.12-slim-bookworm
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libasound2 libasound2-plugins \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --groups audio --home-dir /var/lib/kwsd --create-home kwsd \
 && install -d -o kwsd -g kwsd -m 750 /run/kwsd \
 && install -d -o root -g kwsd -m 750 /etc/kwsd
COPY --from=build /opt/kwsd /opt/kwsd
ENV PATH=/opt/kwsd/bin:$PATH OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1
USER kwsd
WORKDIR /var/lib/kwsd
VOLUME ["/run/kwsd", "/var/lib/kwsd"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["kwsctl", "status"]
ENTRYPOINT ["kwsd"]
