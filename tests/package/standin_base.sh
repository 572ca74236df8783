#!/usr/bin/env bash
# standin_base.sh SUITE ARCHITECTURE FOLDER
# Makes FOLDER a root file system that stands in for Debian's slim image of SUITE, where no image registry can be
# reached: debootstrap's smallest set, trimmed as the slim image is, with its sources of packages. As root. MIRROR
# names another Debian mirror than debootstrap's own. Another ARCHITECTURE than this machine's needs its emulator
# registered with the kernel (qemu-user-static with binfmt-support).
set -euo pipefail

[ $# = 3 ] || { echo "usage: standin_base.sh SUITE ARCHITECTURE FOLDER" >&2; exit 64; }
suite=$1 architecture=$2 folder=$3

words=("$suite" "$folder")
if [ -n "${MIRROR:-}" ]; then words+=("$MIRROR"); fi
debootstrap --variant=minbase --arch="$architecture" "${words[@]}" > "$folder.log" \
  || { tail -n 20 "$folder.log" >&2; exit 1; }

# The image has these sources too. debootstrap's own --extra-suites leaves packages with unmet dependencies.
mirror=$(awk '$1 == "deb" { print $2; exit }' "$folder/etc/apt/sources.list")
printf 'deb %s main\n' "$mirror $suite-updates" "${mirror%/}-security $suite-security" \
  >> "$folder/etc/apt/sources.list"

# As in the slim image: no documents, and apt keeps nothing that it fetched.
printf 'path-exclude=/usr/share/%s/*\n' doc info locale man > "$folder/etc/dpkg/dpkg.cfg.d/slim"
for name in doc info locale man; do
  rm -rf "${folder:?}/usr/share/$name"
  mkdir "$folder/usr/share/$name"
done
cat > "$folder/etc/apt/apt.conf.d/keep-nothing" << 'APT'
Acquire::Languages "none";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
APT
rm -rf "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/* "$folder"/var/log/*.log

# What this machine's administrator trusts, such as a proxy that every fetch passes: pip could fetch nothing without.
if [ -d /usr/local/share/ca-certificates ]; then
  mkdir -p "$folder/usr/local/share/ca-certificates"
  cp -R /usr/local/share/ca-certificates/. "$folder/usr/local/share/ca-certificates/"
fi
