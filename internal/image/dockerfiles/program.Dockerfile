# What claude-bottle lays over a bottle's system: the few tools that every agent expects, and the
# agent program. The RUN needs no network where git is there already.
ARG BASE
FROM ${BASE}
LABEL claude-bottle.image=1
USER 0
RUN if command -v git >/dev/null; then exit 0; fi; \
    if command -v apt-get >/dev/null; then \
        export DEBIAN_FRONTEND=noninteractive && \
        apt-get update && apt-get install -y --no-install-recommends ca-certificates curl git && \
        { apt-get install -y --no-install-recommends ripgrep || echo "no ripgrep to be had: going on without"; } && \
        rm -rf /var/lib/apt/lists/*; \
    elif command -v apk >/dev/null; then \
        apk add --no-cache ca-certificates curl git && \
        { apk add --no-cache ripgrep || echo "no ripgrep to be had: going on without"; }; \
    else \
        echo "no git here, and neither apt-get nor apk to get it with: have your Dockerfile install it"; \
    fi
ARG TARGET
COPY ["program", "${TARGET}"]
ARG BASE_USER
USER ${BASE_USER}
