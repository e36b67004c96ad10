#!/bin/sh
# Prove this release without any connection: that its files are complete, and that the images which it names
# are those that were promoted, by a signature that a public key of the vendor opens.
set -eu

HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
# shellcheck source=jenkins_release/bundle/lib/common.sh
. "$HERE/lib/common.sh"

help() {
    cat <<EOF
Prove $PRODUCT $VERSION without any connection.

usage: verify.sh [options]

  --key FILE    public key of the vendor for promotions, such as promotion.pem.pub: from where you found it
                before, not from this zip
  --images      also that the images of this Docker are those of the release, where they were pulled
  --help        this text

Proven with sh, sha256sum and openssl: the files are those of SHA256SUMS; the last attestation is signed with
the key, says PASSED, is about every image that docker-compose.yml names, and lists the attestations before it.
Not proven here: QA's own signatures and the rules of the chain, and whether the release was withdrawn since:
'jenkins-release verify' and 'jenkins-release bundle verify' do that. Scripts are not signed: compare the
SHA-256 of the zip with the one on the download page.
EOF
}

KEY='' IMAGES_TOO=''
while [ $# -gt 0 ]; do
    case $1 in
    --key)
        [ $# -gt 1 ] || usage_error "$1 needs a value"
        KEY=$2
        shift
        ;;
    --images) IMAGES_TOO=yes ;;
    --help | -h) help && exit 0 ;;
    *) usage_error "there is no option $1" ;;
    esac
    shift
done
BAD=0
bad() {
    printf 'FAIL  %s\n' "$1"
    BAD=1
}
good() { printf 'ok    %s\n' "$1"; }

if damaged=$(check_files "$HERE"); then
    good "the files are those of SHA256SUMS"
else
    bad "files: $damaged"
fi
# One image: line for each image of the release, by digest, and no other one.
named=$(sed 's/^#.*//; s/[[:space:]]#.*//' "$HERE/docker-compose.yml" | sed -n 's/^ *image: *//p' | sort -u)
expected=$(for image in $IMAGES; do printf '%s/%s\n' "$REGISTRY" "$image"; done | sort -u)
if [ "$named" = "$expected" ]; then
    good "docker-compose.yml names the images of the release by digest"
else
    bad "docker-compose.yml names other images than release.env"
fi

base64_decode() { if have base64; then base64 -d; else openssl base64 -d -A; fi; }
# JSON in pieces, one a line; it is written without spaces.
# shellcheck disable=SC2020 # busybox's tr knows no [x*]
pieces() { tr ',{}[]' '\n\n\n\n\n'; }
field() { # field NAME < JSON: the strings of that name
    pieces | sed -n "s/^\"$1\":\"\(.*\)\"\$/\1/p"
}
check_signature() { # check_signature FOLDER: openssl, so that it can be told how the proof was made
    need openssl
    tail -n 1 "$HERE/attestations.jsonl" >"$1/envelope"
    field payload <"$1/envelope" | head -n 1 | base64_decode >"$1/payload"
    type=$(field payloadType <"$1/envelope" | head -n 1)
    # The DSSE specification, "Signature Definition": what is signed is the pre-authentication encoding.
    { printf 'DSSEv1 %s %s %s ' "${#type}" "$type" "$(wc -c <"$1/payload" | tr -d ' ')" && cat "$1/payload"; } >"$1/signed"
    field sig <"$1/envelope" >"$1/signatures"
    while IFS= read -r signature; do
        printf '%s' "$signature" | base64_decode >"$1/signature"
        if openssl pkeyutl -verify -pubin -inkey "$KEY" -rawin -in "$1/signed" -sigfile "$1/signature" >/dev/null 2>&1 ||
            openssl dgst -sha256 -verify "$KEY" -signature "$1/signature" "$1/signed" >/dev/null 2>&1; then
            return 0
        fi
    done <"$1/signatures"
    return 1
}
check_summary() { # check_summary FOLDER: what the signed payload says
    field predicateType <"$1/payload" | grep -qx 'https://slsa.dev/verification_summary/v1' ||
        bad "the last attestation is no verification summary"
    if [ "$(field verificationResult <"$1/payload")" = PASSED ]; then
        good "the summary of $(field timeVerified <"$1/payload") says PASSED"
    else
        bad "the summary says: $(field verificationResult <"$1/payload")"
    fi
    # A subject is {"digest":{"sha256":D},"name":N}: two lines after another, when it is taken apart.
    pieces <"$1/payload" | sed -n 's/^"sha256":"\(.*\)"$/\1/p; s/^"name":"\(.*\)"$/=\1/p' |
        awk '/^=/ { print substr($0, 2) " " last; next } { last = $0 }' >"$1/subjects"
    for image in $IMAGES; do
        if grep -qx -F "$REGISTRY/${image%@*} ${image#*@sha256:}" "$1/subjects"; then
            good "the summary names ${image%@*} with that digest"
        else
            bad "the summary does not name ${image%@*} with the digest ${image#*@}"
        fi
    done
    sed -n '1s/.*"candidate":"\([^"]*\)".*/\1/p' "$HERE/attestations.jsonl" | base64_decode | sha256 >"$1/candidate"
    if grep -qx -F "candidate.json $(cat "$1/candidate")" "$1/subjects"; then
        good "the summary is about the candidate.json that is here"
    else
        bad "the summary is about another candidate.json"
    fi
    sed '1d; $d' "$HERE/attestations.jsonl" | while IFS= read -r line; do
        printf '%s\n' "$line" | sha256
    done | sort >"$1/here"
    tr '[' '\n' <"$1/payload" | sed -n '/^{"digest".*"uri"/p' | sed 's/\].*//' | field sha256 | sort >"$1/listed"
    if cmp -s -- "$1/here" "$1/listed"; then
        good "every attestation that it rests on is here, unaltered"
    else
        bad "attestations are missing or altered"
    fi
}

if [ -n "$KEY" ]; then
    [ -r "$KEY" ] || usage_error "the key $KEY cannot be read"
    ANSWERED=$(mktemp "${TMPDIR:-/tmp}/verify.XXXXXX")
    folder=$ANSWERED.d
    mkdir -m 700 -- "$folder"
    trap 'rm -rf -- "$folder" "$ANSWERED"' EXIT
    if check_signature "$folder"; then
        good "the last attestation is signed with $KEY"
        check_summary "$folder"
    else
        bad "the last attestation is not signed with $KEY, or openssl is older than 3.0"
    fi
else
    warn "without --key only the files are compared: nothing proves who made them"
fi

if [ -n "$IMAGES_TOO" ]; then
    need docker
    for image in $IMAGES; do
        if docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$REGISTRY/$image" 2>/dev/null |
            grep -qx -F "$REGISTRY/$image"; then
            good "this Docker has ${image%@*} with that digest"
        else
            bad "this Docker does not have ${image%@*} with that digest"
        fi
    done
fi
[ "$BAD" = 0 ] || die "$PRODUCT $VERSION is not proven" "do not use it; tell support what is marked FAIL"
say "$PRODUCT $VERSION: proven"
