#!/usr/bin/env bash
# Writes what is uploaded: the image as one file, and the model as another where the image is without.
set -euo pipefail
cd "$(dirname "$0")"
TAG="${1:-@TAG@}"
docker save "$TAG" | gzip --fast > "$TAG.tar.gz.part"
mv "$TAG.tar.gz.part" "$TAG.tar.gz"
@SAVE_MODEL@ls -lh ./*.tar.gz
