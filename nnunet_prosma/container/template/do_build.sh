#!/usr/bin/env bash
# Builds the image. This needs the network, the later steps do not.
set -euo pipefail
cd "$(dirname "$0")"
docker build --platform=linux/amd64 --tag "${1:-@TAG@}" .
