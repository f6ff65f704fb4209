# syntax=docker/dockerfile:1
# Trimtab in a container: docs/how-to/docker.md. Linted by the tests, which have no container engine to build it with.

FROM python:3.12-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/trimtab \
 && /opt/trimtab/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
# LOCAL= leaves the own model's runtime out.
ARG LOCAL=[local]
RUN /opt/trimtab/bin/pip install --no-cache-dir ".${LOCAL}"

FROM python:3.12-slim
# libgomp1: the own model's runtime needs it, the rest does not. tini reaps what the supervisor leaves.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --create-home --home-dir /var/lib/trimtab --shell /usr/sbin/nologin trimtab
COPY --from=build /opt/trimtab /opt/trimtab
ENV PATH=/opt/trimtab/bin:$PATH
USER 10001
WORKDIR /var/lib/trimtab
VOLUME ["/var/lib/trimtab"]
EXPOSE 8400 8401
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8400/readyz', timeout=4)"]
ENTRYPOINT ["tini", "--", "trimtab"]
CMD ["up", "--host", "0.0.0.0", "--data", "/var/lib/trimtab"]
