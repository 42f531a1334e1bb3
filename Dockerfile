# The environment of the locked versions: docker build -t hypercoop:0.1.0 .
FROM python:3.11-slim-bookworm
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /hypercoop
COPY . .
RUN containers/install
CMD ["hypercoop", "--help"]
