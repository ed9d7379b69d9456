#!/bin/sh
# Install Debian packages for the tests: quietly, within a time, and without a service of theirs being started.
# The first argument says whether to fetch the lists of packages before: `update` or `-`.
set -eu
export DEBIAN_FRONTEND=noninteractive

exec 9> "${TMPDIR:-/tmp}/accrue-tests-install.lock"
flock --wait 600 9 # two test runs may want the same

# Debian starts what it installs unless this file says no. One that is there already is left as it is.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi

if [ "$1" = update ]; then
    timeout 120 apt-get --quiet --quiet update || true # one source out of reach is no matter if the others have it
fi
shift
timeout 600 apt-get --quiet --quiet --yes --no-install-recommends -o DPkg::Lock::Timeout=300 install "$@"
