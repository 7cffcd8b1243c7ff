#!/usr/bin/env bash
# Makes an authority and a certificate each for scheduler, workers and clients of one Dask cluster.
#
#   deploy/certificates.sh FOLDER [DAYS]
#
# FOLDER gets ca.pem, {scheduler,worker,client}.{pem,key}, and ca.key, which signs further ones: keep it elsewhere.
# Whoever has a key of this authority can run code on the cluster. An authority that is there already is used again.
set -euo pipefail
umask 077

folder=${1:?usage: certificates.sh FOLDER [DAYS]}
days=${2:-365}
mkdir -p "$folder"
cd "$folder"

if [[ ! -f ca.key ]]; then
    openssl ecparam -name prime256v1 -genkey -noout -out ca.key
    openssl req -x509 -new -key ca.key -sha256 -days "$days" -subj "/CN=landweave authority" -out ca.pem \
        -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign"
fi

for role in scheduler worker client; do
    openssl ecparam -name prime256v1 -genkey -noout -out "$role.key"
    openssl req -new -key "$role.key" -sha256 -subj "/CN=landweave $role" -out "$role.csr"
    openssl x509 -req -in "$role.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -sha256 -days "$days" -out "$role.pem" \
        -extfile <(printf '%s\n' "basicConstraints=CA:FALSE" "keyUsage=digitalSignature" \
            "extendedKeyUsage=serverAuth,clientAuth" "subjectAltName=DNS:$role") 2>/dev/null
    rm "$role.csr"
done
rm -f ca.srl
echo "wrote ca.pem and certificates of scheduler, worker and client to $PWD, valid for $days days"
