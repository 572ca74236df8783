#!/usr/bin/env bash
# build_container.sh [PLATFORM]
# Builds the Dockerfile with the first engine there is and replays the sample in the image, without a network, on
# a read-only root and as the image's own user. PLATFORM, such as linux/arm64, needs an engine that can emulate it.
# ENGINE=buildah takes that one; BUILD_OPTIONS are added to the build. Exit code 69: no engine that works.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
platform=${1:-}
tag=kwsd:under-test

usable() {
  case $1 in
    docker | podman) command -v "$1" > /dev/null && "$1" info > /dev/null 2>&1 ;;
    buildah) command -v buildah > /dev/null ;;
    *) return 1 ;;
  esac
}

engine=${ENGINE:-}
if [ -z "$engine" ]; then
  for engine in docker podman buildah none; do
    if usable "$engine"; then break; fi
  done
fi
if ! usable "$engine"; then
  echo "no container engine that works: install docker, podman or buildah" >&2
  exit 69
fi

read -ra options <<< "${BUILD_OPTIONS:-}"
if [ -n "$platform" ]; then options+=(--platform "$platform"); fi
# The image format of Docker is the one that keeps a HEALTHCHECK.
if [ "$engine" != docker ]; then options+=(--format docker); fi
"$engine" build "${options[@]}" --tag "$tag" "$root"

if [ "$engine" = buildah ]; then
  container=$(buildah from --pull-never "$tag")
  trap 'buildah rm "$container" > /dev/null' EXIT
  in_image() { buildah run --user kwsd --volume "$root/samples:/samples:ro" "$container" -- "$@"; }
else
  in_image() {
    "$engine" run --rm --network none --read-only --volume "$root/samples:/samples:ro" \
      --entrypoint "$1" "$tag" "${@:2}"
  }
fi

test "$(in_image id -u)" != 0
in_image kwsd --version
in_image kwsd --replay /samples/living_room.flac > "${TMPDIR:-/tmp}/kwsd-container.$$"
words=$(grep -c '"type": "wake"' "${TMPDIR:-/tmp}/kwsd-container.$$" || true)
rm -f "${TMPDIR:-/tmp}/kwsd-container.$$"
if [ "$words" != 2 ]; then
  echo "the image heard $words words of 2" >&2
  exit 1
fi
echo "the image built with $engine hears both words of the sample"
