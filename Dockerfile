# The lab study, offline:   docker build -t xlt .   docker run --rm --network none -v "$PWD/study:/study" xlt
# Its runs and its report are then in ./study. Any other command of xlt works as well: docker run --rm xlt doctor
FROM python:3.11-slim AS wheel
COPY . /source
RUN pip wheel --no-deps --wheel-dir /wheels /source

FROM python:3.11-slim
COPY constraints.txt /tmp/
RUN --mount=from=wheel,source=/wheels,target=/wheels \
    PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu pip install --no-cache-dir --constraint /tmp/constraints.txt /wheels/*.whl
ENV HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
WORKDIR /study
ENTRYPOINT ["xlt"]
CMD ["run", "lab-quick"]
