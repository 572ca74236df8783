#!/usr/bin/env bash
# build_container.sh [PLATFORM]
# Builds the Dockerfile with the first engine there is and tries the image as its own user: the sample is replayed
# without a network, the health check fails without a daemon and succeeds with one, and the daemon hears the sample.
# Where the base image cannot be fetched, root with buildah and debootstrap builds the same Dockerfile on a stand-in
# of the base's name; the output says which base it was. PLATFORM, such as linux/arm64, needs an engine that can
# emulate it, or for the stand-in a kernel that does.
# ENGINE=buildah takes that one; BUILD_OPTIONS are added to the build. Between runs buildah's images are kept in
# CACHE, ${XDG_CACHE_HOME:-~/.cache}/kwsd/container if not set: remove the folder to fetch and make all anew.
# Exit code 69: no engine that works, or no base and no means to make one.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
platform=${1:-}
tag=kwsd:under-test
cache=${CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/kwsd/container}

unavailable() {
  echo "$*" >&2
  exit 69
}

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
usable "$engine" || unavailable "no container engine that works: install docker, podman or buildah"
base=$(awk '$1 == "FROM" { print $2 }' "$root/Dockerfile" | sort -u)

work=$(mktemp -d "${TMPDIR:-/tmp}/kwsd-container.XXXXXX")
store=() container=''
clean_up() {
  if [ -n "$container" ]; then buildah "${store[@]}" rm "$container" > /dev/null || true; fi
  rm -rf "$work"
}
trap clean_up EXIT

read -ra options <<< "${BUILD_OPTIONS:-}"
on_platform=()
if [ -n "$platform" ]; then on_platform=(--platform "$platform"); fi

# One store for each kind of base: a stand-in must never be taken for the image whose name it has.
use_store() {
  mkdir -p "$cache/$1"
  store=(--root "$cache/$1/images" --runroot "$cache/$1/run")
}

fetch_base() {
  if [ "$engine" = buildah ]; then
    use_store "fetched${platform//\//-}"
    buildah "${store[@]}" pull --policy always "${on_platform[@]}" "$base"
  else
    "$engine" pull "${on_platform[@]}" "$base" || "$engine" image inspect "$base"
  fi > "$work/fetch.log" 2>&1
}

make_base() {
  local architecture suite
  suite=${base#debian:} suite=${suite%-slim}
  [ "$base" = "debian:$suite-slim" ] || unavailable "$base cannot be fetched, nor made: it is not Debian's"
  [ "$(id -u)" = 0 ] || unavailable "$base cannot be fetched ($reason), and a stand-in needs root"
  for program in buildah debootstrap dpkg; do
    command -v "$program" > /dev/null || unavailable "$base cannot be fetched ($reason), and a stand-in needs $program"
  done
  architecture=$(dpkg --print-architecture)
  if [ -n "$platform" ] && [ "${platform#linux/}" != "$architecture" ]; then
    architecture=${platform#linux/}
    [ -n "$(find /proc/sys/fs/binfmt_misc -name 'qemu-*')" ] \
      || unavailable "$platform is not emulated here: install qemu-user-static and binfmt-support"
  fi
  engine=buildah
  # Asks for no container runtime and no control groups, which a container that builds a container lacks.
  export BUILDAH_ISOLATION=chroot
  use_store "standin-$suite-$architecture"
  # localhost/ is where an engine looks first for a name without a registry.
  if ! buildah "${store[@]}" inspect --type image "localhost/$base" > /dev/null 2>&1; then
    "$here/standin_base.sh" "$suite" "$architecture" "$work/base"
    printf 'FROM scratch\nCOPY . /\nCMD ["bash"]\n' > "$work/base.dockerfile"
    buildah "${store[@]}" build --quiet --platform "linux/$architecture" --file "$work/base.dockerfile" \
      --tag "localhost/$base" "$work/base" > /dev/null
    rm -rf "$work/base"
  fi
  options+=(--pull-never)
}

if fetch_base; then
  echo "base: $base as fetched"
else
  reason=$(tail -n 1 "$work/fetch.log")
  make_base
  echo "base: a stand-in for $base, made with debootstrap; the image itself cannot be fetched ($reason)"
fi

# The image format of Docker is the one that keeps a HEALTHCHECK.
if [ "$engine" != docker ]; then options+=(--format docker); fi
command=("$engine")
if [ "$engine" = buildah ]; then command+=("${store[@]}"); fi
"${command[@]}" build "${on_platform[@]}" "${options[@]}" --tag "$tag" "$root"

mounts=(--volume "$root/samples:/samples:ro" --volume "$here/in_image:/trial:ro")
if [ "$engine" = buildah ]; then
  "${command[@]}" rmi --prune > /dev/null
  container=$("${command[@]}" from --pull-never "${on_platform[@]}" "$tag")
  in_image() { "${no_network[@]}" "${command[@]}" run "${mounts[@]}" "$container" -- "$@"; }
  no_network=()
  if [ "$(id -u)" = 0 ]; then no_network=(unshare --net); fi
  size=$("${command[@]}" images --json "$tag" | awk -F '"' '$2 == "size" { print $4 }')
  configured=$("${command[@]}" inspect --type image \
    --format '{{.Docker.Config.Entrypoint}} {{.Docker.Config.Healthcheck.Test}} {{.Docker.Config.User}}' "$tag")
else
  in_image() {
    "$engine" run --rm "${on_platform[@]}" --network none --read-only --tmpfs /tmp "${mounts[@]}" \
      --entrypoint "$1" "$tag" "${@:2}"
  }
  size="$("$engine" image inspect --format '{{.Size}}' "$tag") bytes"
  configured=$("$engine" image inspect \
    --format '{{.Config.Entrypoint}} {{.Config.Healthcheck.Test}} {{.Config.User}}' "$tag")
fi
echo "image: $size"
if [ "$configured" != "[kwsd] [CMD kwsctl status] 10001" ]; then
  echo "entry, health check and user of the image are not as they should be: $configured" >&2
  exit 1
fi

test "$(in_image id -u)" = 10001
left=$(in_image sh -c 'command -v cc gcc c++ pip || true')
if [ -n "$left" ]; then
  echo "the image has what only its build needs: $left" >&2
  exit 1
fi
in_image kwsd --version
in_image kwsd --replay /samples/living_room.flac > "$work/events"
cat "$work/events"
words=$(grep -c '"type": "wake", "name": "computer"' "$work/events" || true)
if [ "$words" != 2 ]; then
  echo "the image heard $words words of 2" >&2
  exit 1
fi
in_image sh /trial/live.sh /samples/living_room.flac
echo "the image built with $engine hears both words of the sample"
