#!/bin/sh
# Installs the Debian packages that the live tests use: as root by apt-get; else says what stays out.
set -eu
missing=
for pair in nft:nftables ip:iproute2 ps:procps strace:strace; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
if [ "$(id -u)" -ne 0 ]; then
    echo "not root: tests that need network namespaces or nft rules are left out"
    [ -z "$missing" ] || echo "not installed (apt install$missing):$missing"
    exit 0
fi
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "no apt-get here: tests that need$missing are left out"
    exit 0
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  a list of package names
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null; } ||
    echo "could not install$missing: tests that need them are left out"
