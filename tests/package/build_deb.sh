#!/usr/bin/env bash
# build_deb.sh OUTPUT_FOLDER
# Builds kwsd_VERSION_ARCHITECTURE.deb for this machine's architecture and its Python. pip fetches the
# dependencies now, nothing is fetched when the package is installed. PYTHON names another interpreter than
# the system's; it must be the one that the target's python3 package installs.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
recipe=$root/packaging/debian
python=${PYTHON:-/usr/bin/python3}
[ $# = 1 ] || { echo "usage: build_deb.sh OUTPUT_FOLDER" >&2; exit 64; }
mkdir -p "$1"
output=$(cd "$1" && pwd)
for program in dpkg-deb "$python"; do
  command -v "$program" > /dev/null || { echo "no $program: build on Debian or a relative of it" >&2; exit 69; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
stage=$work/stage
site=$stage/usr/lib/kwsd
export PIP_DISABLE_PIP_VERSION_CHECK=1
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2> /dev/null || date +%s)}

"$python" -m venv "$work/venv" || { echo "no venv module: install python3-venv" >&2; exit 69; }
"$work/venv/bin/pip" wheel --quiet --no-deps --wheel-dir "$work/wheel" "$root"
wheel=$(echo "$work"/wheel/kwsd-*.whl)
unzip_list=$("$python" -m zipfile --list "$wheel")
for library in libkwsdsp.so libkwscapture.so; do
  case $unzip_list in
    *"$library"*) ;;
    *) echo "the wheel lacks $library: install gcc and g++" >&2; exit 69 ;;
  esac
done
version=$(basename "$wheel" | cut -d- -f2)
"$work/venv/bin/pip" install --quiet --no-compile --target "$site" "$wheel[mqtt,wyoming]"
# Scripts of the dependencies name this build's interpreter.
rm -rf "$site/bin" "$site/share"
find "$site" -name direct_url.json -delete
find "$site" -type f -name "*.so*" -exec chmod 644 {} +

# Bytecode that needs no check: the service may not write into /usr, and a board compiles slowly.
"$python" -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$stage" -p / "$site" || true

mkdir -p "$stage/usr/bin"
for entry in kwsd:kwsd.cli kwsctl:kwsd.kwsctl kwsmodel:kwsd.kwsmodel kwsd-mqtt:kwsd.bridge.mqtt \
  kwsd-wyoming:kwsd.bridge.wyoming; do
  program=$stage/usr/bin/${entry%%:*}
  printf '#!/usr/bin/python3 -I\nimport sys\n\nsys.path.insert(0, "/usr/lib/kwsd")\nfrom %s import main\n\nsys.exit(main())\n' \
    "${entry#*:}" > "$program"
  chmod 755 "$program"
done

put() { install -D -m "${3:-644}" "$1" "$stage/$2"; }
for unit in "$root"/systemd/*.service; do
  put "$unit" "usr/lib/systemd/system/$(basename "$unit")"
done
put "$root/systemd/kwsd.sysusers" usr/lib/sysusers.d/kwsd.conf
put "$root/systemd/kwsd.tmpfiles" usr/lib/tmpfiles.d/kwsd.conf
put "$root/systemd/60-kwsd-aipu.rules" usr/lib/udev/rules.d/60-kwsd-aipu.rules
put "$recipe/kwsd.toml" etc/kwsd/kwsd.toml 640
mkdir -p "$stage/etc/kwsd/conf.d" "$stage/etc/kwsd/clients"
chmod 750 "$stage/etc/kwsd" "$stage/etc/kwsd/conf.d" "$stage/etc/kwsd/clients"
put "$recipe/lintian-overrides" usr/share/lintian/overrides/kwsd

documents=$stage/usr/share/doc/kwsd
mkdir -p "$documents"
"$python" - "$recipe/copyright.in" "$site" > "$documents/copyright" <<'PYTHON'
import sys
from importlib.metadata import distributions
print(open(sys.argv[1]).read(), end="")
for found in sorted(distributions(path=[sys.argv[2]]), key=lambda found: found.name.lower()):
    told = found.metadata.get("License-Expression") or (found.metadata.get("License") or "").split("\n")[0]
    names = [line.split("::")[-1].strip() for line in found.metadata.get_all("Classifier", []) if "License" in line]
    print(f" {found.name} {found.version}: {told.strip() or ', '.join(names) or 'see its METADATA'}")
PYTHON
printf 'kwsd (%s) unstable; urgency=medium\n\n  * Built from the source tree; see the CHANGELOG there.\n\n -- kwsd developers <kwsd@localhost>  %s\n' \
  "$version" "$(date -R -u -d "@$SOURCE_DATE_EPOCH")" | gzip -9n > "$documents/changelog.gz"

mkdir "$stage/DEBIAN"
for script in postinst prerm postrm; do
  put "$recipe/$script" "DEBIAN/$script" 755
done
echo /etc/kwsd/kwsd.toml > "$stage/DEBIAN/conffiles"
minor=$("$python" -c 'import sys; print(sys.version_info.minor)')
architecture=$(dpkg --print-architecture)
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" \
  -e "s/@INSTALLED_KIB@/$(du -sk --apparent-size "$stage" | cut -f1)/" \
  -e "s/@PYTHON@/3.$minor/" -e "s/@NEXT_PYTHON@/3.$((minor + 1))/" \
  "$recipe/control.in" > "$stage/DEBIAN/control"
(cd "$stage" && find usr -type f -print0 | sort -z | xargs -0 md5sum) > "$stage/DEBIAN/md5sums"
find "$stage" -newermt "@$SOURCE_DATE_EPOCH" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

package=$output/kwsd_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zxz -z1 --build "$stage" "$package" > /dev/null
echo "$package"
