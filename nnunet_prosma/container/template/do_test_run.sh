#!/usr/bin/env bash
# Runs one case as the platform does: no network, read-only input and model, little memory, an empty /tmp.
# Put the case into test/input first: test/input/@FIRST_INPUT@/CASE.mha, and so on for each socket.
set -euo pipefail
cd "$(dirname "$0")"
TAG="${1:-@TAG@}"
MEMORY="${MEMORY:-@MEMORY@g}"
GPUS=()
if [ "${NO_GPU:-0}" != 1 ]; then GPUS=(--gpus all); fi

mkdir -p test/output
chmod 777 test/output
# What an earlier run wrote belongs to the container's user, so the container removes it.
docker run --rm --network none --volume "$PWD/test/output:/output" --entrypoint /bin/sh "$TAG" -c 'find /output -mindepth 1 -delete'
chmod -R o+rX test/input bundle

docker run --rm \
    --platform=linux/amd64 \
    --network none \
    --memory "$MEMORY" \
    --memory-swap "$MEMORY" \
    --shm-size 128m \
    --read-only \
    --tmpfs /tmp:rw,mode=1777 \
    --cap-drop ALL \
    --security-opt no-new-privileges \
    ${GPUS[@]+"${GPUS[@]}"} \
    --volume "$PWD/test/input:/input:ro" \
    --volume "$PWD/test/output:/output" \
    @MODEL_VOLUME@"$TAG"

find test/output -type f
