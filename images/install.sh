#!/bin/sh
# Installs Python packages into /opt/canfar, in the versions of constraints.txt. The arguments are
# those of `uv pip install`.
set -eu
here=/usr/local/share/canfar-hub

# The certificate of a network that reads along, where the image is built in one: a secret of the
# build, so that it is not in the image.
if [ -s /run/secrets/certificates ]; then
    export PIP_CERT=/run/secrets/certificates SSL_CERT_FILE=/run/secrets/certificates
fi

[ -e /opt/canfar/bin/python ] || python3 -m venv /opt/canfar
python3 -m venv /tmp/uv
/tmp/uv/bin/pip install --quiet --no-cache-dir "uv==${UV_VERSION:?}"
/tmp/uv/bin/uv pip install --quiet --no-cache --compile-bytecode --python /opt/canfar/bin/python \
    --constraints "$here/constraints.txt" "$@"

for module in "$here"/images/*/*.py; do
    [ -e "$module" ] || continue
    for packages in /opt/canfar/lib/python*/site-packages; do
        install -m 0644 "$module" "$packages/"
    done
done
rm -rf /tmp/uv /root/.cache
