#!/bin/sh
# Builds hbd_VERSION_all.deb into the directory given (default: here), with nothing
# but dpkg-deb and python3. The same sources give the same octets. Prints its path.
set -eu
umask 022

top=$(cd "$(dirname "$0")/.." && pwd)
out=$(mkdir -p "${1:-.}" && cd "${1:-.}" && pwd)
cd "$top"
for tool in dpkg-deb python3; do
    command -v "$tool" >/dev/null || { echo "build-deb.sh: $tool is missing" >&2; exit 1; }
done

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' hbd/__init__.py)
# dpkg-deb clamps every time stamp in the package to this one.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date -d "$(
    sed -n 's/^## .* (\(.*\))$/\1 UTC/p' packaging/CHANGELOG.md | head -n 1)" +%s)}
export SOURCE_DATE_EPOCH

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

place() {  # MODE SOURCE TARGET
    install -D -m "$1" "$2" "$root$3"
}
compressed() {  # SOURCE TARGET
    [ -r "$1" ] || { echo "build-deb.sh: $1 is missing" >&2; exit 1; }
    install -d "$root$(dirname "$2")"
    gzip -9n <"$1" >"$root$2"
}

find hbd -name '*.py' -o -path 'hbd/web/*' -type f ! -name '*.pyc' | sort | while read -r file; do
    place 644 "$file" "/usr/lib/python3/dist-packages/$file"
done
place 755 packaging/hbd /usr/bin/hbd
place 755 packaging/hbd-mail.sh /usr/libexec/hbd-mail
place 644 etc/hbd.yaml /etc/hbd.yaml
install -d "$root/etc/hbd.d"
# Where units live on merged-/usr systems, in Debian 12 and 13 alike.
for unit in packaging/*.service packaging/*.path packaging/*.target; do
    place 644 "$unit" "/usr/lib/systemd/system/${unit##*/}"
done
for rules in packaging/prometheus/*.yml; do
    place 644 "$rules" "/usr/share/hbd/prometheus/${rules##*/}"
done
place 644 packaging/hbd.preset /usr/lib/systemd/system-preset/80-hbd.preset
place 644 packaging/hbd.sysusers /usr/lib/sysusers.d/hbd.conf
place 644 packaging/hbd.tmpfiles /usr/lib/tmpfiles.d/hbd.conf
place 644 packaging/hbd.sysctl /usr/lib/sysctl.d/60-hbd.conf
place 644 packaging/hbd.catalog /usr/lib/systemd/catalog/hbd.catalog
place 644 packaging/hbd.bash-completion /usr/share/bash-completion/completions/hbd
for page in packaging/man/*.[1-8]; do
    compressed "$page" "/usr/share/man/man${page##*.}/${page##*/}.gz"
done

doc=/usr/share/doc/hbd
compressed packaging/CHANGELOG.md "$doc/NEWS.gz"
{ echo 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/'
  echo 'Upstream-Name: hbd'
  echo
  echo 'Files: *'
  echo "Copyright: $(sed -n 's/^Copyright (c) //p' LICENSE)"
  echo 'License: Expat'
  sed -n '/^Permission/,$s/^$/./;/^Permission/,$s/^/ /p' LICENSE
} >"$root/copyright"
place 644 "$root/copyright" "$doc/copyright"
{ printf 'hbd (%s) unstable; urgency=medium\n\n' "$version"
  printf '  * See %s/NEWS.gz for what changed.\n\n' "$doc"
  printf ' -- The hbd developers <hbd@packages.invalid>  %s\n' "$(
      date -u -R -d "@$SOURCE_DATE_EPOCH")"
} >"$root/changelog"
compressed "$root/changelog" "$doc/changelog.gz"
rm "$root/copyright" "$root/changelog"

install -d "$root/DEBIAN"
size=$(find "$root" -type f -printf '%s\n' | awk '{ n += int($1 / 1024) + 1 } END { print n }')
sed -e "s/@VERSION@/$version/" -e "s/@SIZE@/$size/" \
    packaging/debian/control >"$root/DEBIAN/control"
echo /etc/hbd.yaml >"$root/DEBIAN/conffiles"
(cd "$root" && find usr -type f -exec md5sum {} + | sort -k 2) >"$root/DEBIAN/md5sums"
for script in postinst prerm postrm; do
    place 755 "packaging/debian/$script" "/DEBIAN/$script"
done

deb=$out/hbd_${version}_all.deb
dpkg-deb --root-owner-group --build "$root" "$deb" >/dev/null
echo "$deb"
