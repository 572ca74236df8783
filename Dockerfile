# kwsd for amd64 and arm64:   docker build -t kwsd .
# How to run it, and what was proven of it: docs/install.md.
# The base is plain Debian with Debian's python3: whoever has no image registry makes it with debootstrap.

FROM debian:bookworm-slim AS build
# Versions are left to the Debian release: its security updates replace a pinned one, and the build would fail.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends gcc g++ libc6-dev python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# A wheel without its native parts would run on numpy, unheard: refuse it here. pip has no work in the final image.
RUN python3 -m venv /opt/kwsd \
 && /opt/kwsd/bin/pip install --no-cache-dir '.[mqtt,wyoming]' \
 && test -n "$(find /opt/kwsd -name libkwsdsp.so)" \
 && test -n "$(find /opt/kwsd -name libkwscapture.so)" \
 && /opt/kwsd/bin/pip uninstall --yes setuptools pip

FROM debian:bookworm-slim
# Without libasound2-plugins, which makes 478 MB of 291: devices of the hardware need none of them.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libasound2 python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --groups audio --home-dir /var/lib/kwsd --create-home kwsd \
 && install -d -o kwsd -g kwsd -m 750 /run/kwsd \
 && install -d -o root -g kwsd -m 750 /etc/kwsd
# The interpreter of the environment is a link to /usr/bin/python3, the same package in both stages.
COPY --from=build /opt/kwsd /opt/kwsd
ENV PATH=/opt/kwsd/bin:$PATH OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1
# By number, so that an engine can see that it is not root without a look into the image.
USER 10001
WORKDIR /var/lib/kwsd
VOLUME ["/run/kwsd", "/var/lib/kwsd"]
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["kwsctl", "status"]
ENTRYPOINT ["kwsd"]
