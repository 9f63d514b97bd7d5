# syntax=docker/dockerfile:1
# The relay, its hot path compiled; the compiler stays in the first stage. docs/installing.md tells how it is run.
# The tag names Python's version and Debian's. What is below these, security fixes above all, comes with each new build.
FROM python:3.13-slim-trixie AS built
# hadolint ignore=DL3008 # Debian keeps one version of each package of a release
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml setup.py MANIFEST.in constraints.txt README.md LICENSE ./
COPY building building
COPY config/relay.toml config/
COPY docs/trio-relay.1 docs/
COPY deploy deploy
COPY trio_relay trio_relay
# Without this a hot path that cannot be compiled would be left as it is.
ENV TRIO_RELAY_COMPILE=1
RUN python -m venv --without-pip /opt/trio-relay \
    && pip --python /opt/trio-relay/bin/python install --no-cache-dir --constraint constraints.txt '.[bus]'

FROM python:3.13-slim-trixie
LABEL org.opencontainers.image.title="trio-relay" \
      org.opencontainers.image.description="A Nostr relay on Trio's structured concurrency" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13-slim-trixie"
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin relay \
    && install --directory --owner=relay --group=relay --mode=0700 /data
COPY --from=built /opt/trio-relay /opt/trio-relay
COPY deploy/container/relay.toml /etc/trio-relay/relay.toml
ENV PATH=/opt/trio-relay/bin:$PATH \
    TRIO_RELAY_CONFIG=/etc/trio-relay/relay.toml
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 7777
# One that answers 503 cannot store events. With an address of your own in net.listen, give the container another check.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7777/health', timeout=4)"]
# As a list, so that the relay itself is the first process, and SIGTERM comes to it.
ENTRYPOINT ["trio-relay"]
