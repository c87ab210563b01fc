# One file for three images: docker build --build-arg FLAVOUR=cpu -t rankcli:cpu .       (or gpu, or tpu)
ARG PYTHON=3.11
FROM python:${PYTHON}-slim-bookworm

ARG FLAVOUR=cpu
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1

WORKDIR /opt/rankcli
COPY setup.cfg pyproject.toml constraints.txt README.md LICENSE ./
COPY rankcli rankcli

# tensorflow-tpu holds the same module as tensorflow under another name, so no resolver may see both: it takes its place.
# The GPU flavour brings its own CUDA libraries; the host needs NVIDIA's driver and container toolkit.
RUN case "$FLAVOUR" in \
        cpu) pip install -c constraints.txt . ;; \
        gpu) pip install -c constraints.txt ".[gpu]" ;; \
        tpu) pip install -c constraints.txt . \
             && pip uninstall --yes tensorflow \
             && pip install -c constraints.txt tensorflow-tpu==2.20.0 libtpu==0.0.14 ;; \
        *) echo "FLAVOUR is cpu, gpu or tpu, not $FLAVOUR" >&2; exit 2 ;; \
    esac

# A home that any --user may write to: the cache of TFRecords is in it unless RANKCLI_CACHE says otherwise.
RUN useradd --uid 1000 --create-home rankcli && chmod 1777 /home/rankcli
ENV HOME=/home/rankcli
USER 1000:1000
WORKDIR /work
ENTRYPOINT ["rankcli"]
CMD ["--help"]
