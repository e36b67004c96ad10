#!/bin/sh
# Prove a release offline: that the vendor attested every file, and that the images which it names were promoted,
# by signatures that a public key of the vendor verifies.
set -eu

HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
# shellcheck source=jenkins_release/bundle/lib/common.sh
. "$HERE/lib/common.sh"

help() {
    cat <<EOF
Prove $PRODUCT $VERSION offline.

usage: verify.sh [options]

  --key FILE    the vendor's public key for promotions, such as promotion.pem.pub: the one that you got before,
                not from this zip. May be repeated if the vendor has changed keys
  --dir DIR     use this script to prove another unpacked setup zip, or an installation  [default: this folder].
                A folder with a .env is taken for an installation: docker-compose.override.yml, .env, config/ and
                secrets/ are yours there, and not proven
  --images      also prove that this Docker has pulled the images of the release
  --help        this text

Proven with sh, sha256sum and openssl: the vendor attested every file; docker-compose.yml names the promoted
images; the last attestation says PASSED and lists all attestations before it. Both statements are signed with
the key. An ECDSA P-256 key needs openssl 1.1.1 or newer, an Ed25519 key openssl 3.0 or newer.
Not proven here: QA's own signatures and the rules of the chain, and whether the release was withdrawn since:
'jenkins-release bundle verify' and 'setup.sh --check' do that. A script in a zip that was replaced can say
anything: check a zip with --dir and the verify.sh of an earlier release.
EOF
}

KEYS=0 KINDS='' IMAGES_TOO='' BAD=0
bad() {
    printf 'FAIL  %s\n' "$1"
    BAD=1
}
good() { printf 'ok    %s\n' "$1"; }
note() { printf 'note  %s\n' "$1"; }

kind_of() { # kind_of KEY: what openssl says that it is
    openssl pkey -pubin -in "$1" -noout -text 2>/dev/null | sed -n 's/^ED25519 Public-Key:.*/Ed25519/p; s/^ASN1 OID: //p'
}
add_key() { # add_key FILE
    [ -r "$1" ] || usage_error "the key $1 cannot be read"
    need openssl mktemp
    [ -n "$PRIVATE" ] || private_folder
    KEYS=$((KEYS + 1))
    cat -- "$1" >"$PRIVATE/key.$KEYS"
    kind=$(kind_of "$PRIVATE/key.$KEYS")
    case $kind in
    prime256v1) ;;
    Ed25519)
        # Only since OpenSSL 3.0 can pkeyutl read a whole message, which Ed25519 signs.
        openssl pkeyutl -help 2>&1 | grep -q -e '-rawin' ||
            die "$(openssl version) cannot verify the Ed25519 key $1: nothing is proven" \
                "use openssl 3.0 or newer, on this machine or another one"
        ;;
    *) usage_error "$1 is no public key in PEM, of ECDSA P-256 or Ed25519, that $(openssl version) can read" ;;
    esac
    KINDS="$KINDS $kind"
    good "the key $1 has the fingerprint $(openssl pkey -pubin -in "$PRIVATE/key.$KEYS" -outform DER | sha256)"
}

WHERE=$HERE
while [ $# -gt 0 ]; do
    case $1 in
    --key | --dir)
        [ $# -gt 1 ] || usage_error "$1 needs a value"
        case $1 in
        --key) add_key "$2" ;;
        --dir) WHERE=$2 ;;
        esac
        shift
        ;;
    --images) IMAGES_TOO=yes ;;
    --help | -h) help && exit 0 ;;
    *) usage_error "there is no option $1" ;;
    esac
    shift
done
[ -d "$WHERE" ] || usage_error "there is no folder $WHERE"
WHERE=$(CDPATH='' cd -- "$WHERE" && pwd -P)
# Only setup.sh makes a .env: with one, some files are the customer's.
INSTALLATION=''
if [ -f "$WHERE/.env" ] || [ -L "$WHERE/.env" ]; then INSTALLATION=yes; fi
for file in release.env docker-compose.yml attestations.jsonl SHA256SUMS; do
    if [ ! -f "$WHERE/$file" ] || [ -L "$WHERE/$file" ]; then
        die "$WHERE/$file is missing, or a link" "unpack the setup zip again"
    fi
done
if [ "$WHERE" != "$HERE" ]; then
    # Read, not run: that file is what is to be proven.
    PRODUCT=$(value PRODUCT "$WHERE/release.env") VERSION=$(value VERSION "$WHERE/release.env")
    REGISTRY=$(value REGISTRY "$WHERE/release.env") IMAGES=$(value IMAGES "$WHERE/release.env")
fi

base64_decode() { if have base64; then base64 -d; else openssl base64 -d -A; fi; }
# What jenkins-release writes has one form: canonical JSON, which has sorted keys and no spaces, and escapes every
# quote in a text. All of a line has to match that form; another one, with a key more or a key twice, is refused.
BASE64='[A-Za-z0-9+/][A-Za-z0-9+/]*=*'
FORM="^{\"payload\":\"\\($BASE64\\)\",\"payloadType\":\"application/vnd\\.in-toto+json\",\"signatures\":\\[{\"keyid\":\"[^\"\\\\]*\",\"sig\":\"\\($BASE64\\)\"}\\]}\$"
STATEMENT='^{"_type":"https://in-toto\.io/Statement/v1","predicate":{.*},"predicateType":"\([^"\\]*\)","subject":\[\({"digest".*}\)\]}$'
read_line() { # read_line NUMBER: split a line of attestations.jsonl into payload, signature and type
    sed -n "$1{
w $PRIVATE/line
h
s#$FORM#\\1#w $PRIVATE/payload.base64
g
s#$FORM#\\2#w $PRIVATE/signature.base64
}" "$WHERE/attestations.jsonl" || return 1
    base64_decode <"$PRIVATE/payload.base64" >"$PRIVATE/payload" 2>/dev/null || return 1
    base64_decode <"$PRIVATE/signature.base64" >"$PRIVATE/signature" 2>/dev/null || return 1
    [ "$(wc -l <"$PRIVATE/payload")" -eq 1 ] || return 1
    type=$(sed -n "s#$STATEMENT#\\1#p" "$PRIVATE/payload")
    [ -n "$type" ] && [ -s "$PRIVATE/signature" ]
}
is_signed() { # is_signed: whether one of the keys made the signature of the line that was read
    # The DSSE specification, "Signature Definition": what is signed is the pre-authentication encoding.
    {
        printf 'DSSEv1 28 application/vnd.in-toto+json %s ' "$(wc -c <"$PRIVATE/payload" | tr -d ' ')"
        cat "$PRIVATE/payload"
    } >"$PRIVATE/signed"
    signed_by=0
    for signed_kind in $KINDS; do
        signed_by=$((signed_by + 1))
        signed_key=$PRIVATE/key.$signed_by
        if [ "$signed_kind" = Ed25519 ]; then
            openssl pkeyutl -verify -pubin -inkey "$signed_key" -rawin -in "$PRIVATE/signed" \
                -sigfile "$PRIVATE/signature" >/dev/null 2>&1 && return 0
        else
            openssl dgst -sha256 -verify "$signed_key" -signature "$PRIVATE/signature" "$PRIVATE/signed" \
                >/dev/null 2>&1 && return 0
        fi
    done
    return 1
}
subjects() { # subjects: what the line that was read is about, as sha256sum would list it; fails on any other form
    sed -n "s#$STATEMENT#\\2#p" "$PRIVATE/payload" |
        awk '{ gsub(/[}],[{]"digest":/, "}\n{\"digest\":"); print }' >"$PRIVATE/pieces"
    sed -n 's#^{"digest":{"sha256":"\([0-9a-f]\{64\}\)"},"name":"\([^"\\]*\)"}$#\1  \2#p' "$PRIVATE/pieces" >"$PRIVATE/subjects"
    [ "$(wc -l <"$PRIVATE/pieces")" = "$(wc -l <"$PRIVATE/subjects")" ] &&
        awk 'named[tolower(substr($0, 67))]++ { exit 1 }' "$PRIVATE/subjects"
}
CANDIDATE=
is_about_candidate() { # is_about_candidate: whether the subjects name the candidate.json of the first line
    [ -n "$CANDIDATE" ] || CANDIDATE=$(sed -n "1s#^{\"candidate\":\"\\($BASE64\\)\",\"schema\":\"jenkins-release/bundle/v1\"\\(,\"trust\":\\[[A-Za-z0-9+/=\",]*\\]\\)*}\$#\\1#p" \
        "$WHERE/attestations.jsonl" | base64_decode 2>/dev/null | sha256)
    grep -qx -F "$CANDIDATE  candidate.json" "$PRIVATE/subjects"
}

check_attestations() { # what the vendor says; leaves the list of attested files in "$PRIVATE/files"
    last=$(awk 'END { print NR }' "$WHERE/attestations.jsonl")
    setup=0 number=2
    : >"$PRIVATE/here"
    while [ "$number" -le "$last" ]; do
        read_line "$number" || {
            bad "line $number of attestations.jsonl is not an attestation in the form that jenkins-release writes"
            return 0
        }
        [ "$type" != 'tag:nextlabs.com,2026:jenkins-release/setup/v1' ] || setup=$number
        [ "$number" = "$last" ] || sha256 <"$PRIVATE/line" >>"$PRIVATE/here"
        number=$((number + 1))
    done
    if [ "$setup" = 0 ]; then
        bad "no attestation names the files of this zip"
    elif read_line "$setup" && is_signed && subjects && is_about_candidate; then
        good "the list of files is signed with the key"
        grep -v '  candidate\.json$' "$PRIVATE/subjects" >"$PRIVATE/files" ||
            bad "the list of files names no file, or cannot be read"
    else
        bad "the list of files is not signed with the key, or is about another candidate.json"
    fi
    if [ "$last" -gt 1 ] && read_line "$last" && is_signed; then
        good "the last attestation is signed with the key"
        check_summary
    else
        bad "the last attestation is not signed with the key"
    fi
}
# JSON in pieces, one per line: a quote inside a text is escaped, so no piece of a text looks like a field.
# shellcheck disable=SC2020 # busybox's tr knows no [x*]
field() { # field NAME < JSON: the strings of that name
    tr ',{}[]' '\n\n\n\n\n' | sed -n "s/^\"$1\":\"\(.*\)\"\$/\1/p"
}
check_summary() { # what the last line says
    [ "$type" = 'https://slsa.dev/verification_summary/v1' ] || bad "the last attestation is no verification summary"
    if [ "$(field verificationResult <"$PRIVATE/payload")" = PASSED ]; then
        good "the summary of $(field timeVerified <"$PRIVATE/payload") says PASSED"
    else
        bad "the summary says: $(field verificationResult <"$PRIVATE/payload")"
    fi
    subjects || bad "the summary is not in the form that jenkins-release writes"
    for image in $IMAGES; do
        if grep -qx -F "${image#*@sha256:}  $REGISTRY/${image%@*}" "$PRIVATE/subjects"; then
            good "the summary names ${image%@*} with that digest"
        else
            bad "the summary does not name ${image%@*} with the digest ${image#*@}"
        fi
    done
    if is_about_candidate; then
        good "the summary is about the candidate.json that is here"
    else
        bad "the summary is about another candidate.json"
    fi
    # In the order of the chain, which shows which list of files is the last one.
    tr '[' '\n' <"$PRIVATE/payload" | sed -n '/^{"digest".*"uri"/p' | sed 's/\].*//' | field sha256 >"$PRIVATE/listed"
    if cmp -s -- "$PRIVATE/here" "$PRIVATE/listed"; then
        good "every attestation that it rests on is here, unaltered and in order"
    else
        bad "attestations are missing, altered or in another order"
    fi
}

listed() { sed -n 's/^[0-9a-f]\{64\}  //p' "$1" | sort; } # listed LIST: its paths
check_attested_files() { # each file against the signed list, and nothing that runs beside it
    printf '%s\n' attestations.jsonl bundle.json >"$PRIVATE/expected"
    listed "$PRIVATE/files" >>"$PRIVATE/expected"
    sort "$PRIVATE/expected" >"$PRIVATE/sorted"
    listed "$WHERE/SHA256SUMS" >"$PRIVATE/summed"
    # setup.sh installs what SHA256SUMS names; no list can name it itself.
    cmp -s -- "$PRIVATE/sorted" "$PRIVATE/summed" || bad "SHA256SUMS names other files than the signed list"
    attested=0 unlike=0
    while IFS= read -r line; do
        path=${line#*  } is=missing
        file=$WHERE/$path
        [ ! -f "$file" ] || is=$(sha256 <"$file")
        if [ -L "$file" ] || [ -L "${file%/*}" ]; then
            bad "$path is a link, not the file that was attested"
        elif [ "$is" = "${line%%  *}" ]; then
            attested=$((attested + 1))
        elif [ -n "$INSTALLATION" ] && [ "$path" = docker-compose.override.yml ]; then
            note "changed by you since delivery: $path"
        else
            bad "$path is missing, or not the file that was attested"
            unlike=$((unlike + 1))
        fi
    done <"$PRIVATE/files"
    [ "$unlike" -gt 0 ] || good "$attested files are those that the vendor attested"
    check_others
}
check_others() { # files that nothing attests: some would run, or decide what runs
    echo SHA256SUMS >>"$PRIVATE/expected"
    : >"$PRIVATE/yours"
    if [ -n "$INSTALLATION" ]; then
        # An installation, with its own data: what Docker Compose, setup.sh or a shell would take.
        (cd -- "$WHERE" && for path in .env * lib/* config/* secrets/*; do
            if [ -f "$path" ] || [ -L "$path" ]; then printf '%s\n' "$path"; fi
        done)
    else
        (cd -- "$WHERE" && find . ! -type d) | sed 's#^\./##'
    fi >"$PRIVATE/found"
    # Status 1: there are none. With any other, files may be missing here.
    grep -vx -F -f "$PRIVATE/expected" "$PRIVATE/found" >"$PRIVATE/others" || [ $? = 1 ] ||
        die "the files of $WHERE cannot be compared with the signed list" "see what grep says above"
    while IFS= read -r path; do
        if [ -z "$INSTALLATION" ]; then
            bad "$path is no file of the release"
            continue
        fi
        case $path in
        lib/* | config/*.in) bad "$path is no file of the release, and would be used with it" ;;
        .env | config/* | secrets/*) printf ' %s' "$path" >>"$PRIVATE/yours" ;;
        *compose*.y*ml | *.sh) bad "$path is no file of the release, and would be used with it" ;;
        esac
    done <"$PRIVATE/others"
    [ -z "$INSTALLATION" ] || check_own_settings
}
check_own_settings() { # what an installation has beside the release, and what of it would undo the proof
    note "there is a .env here, so this is taken for an installation; a setup zip has none"
    [ ! -s "$PRIVATE/yours" ] || note "made on this machine, so attested by no one:$(cat "$PRIVATE/yours")"
    leads=$(sed -n '/^[[:space:]]*#/d; s/.*\(COMPOSE_FILE\).*/\1/p; s/.*\(COMPOSE_ENV_FILES\).*/\1/p; s/.*\(COMPOSE_PATH_SEPARATOR\).*/\1/p' \
        "$WHERE/.env" | sort -u | tr '\n' ' ')
    [ -z "$leads" ] || bad ".env leads Docker Compose to other files than those of the release: $leads"
}

if damaged=$(check_files "$WHERE"); then
    good "the files are those of SHA256SUMS"
else
    bad "files: $damaged"
fi
# One image: line for each image of the release, by digest, and no other one.
named=$(sed 's/^#.*//; s/[[:space:]]#.*//' "$WHERE/docker-compose.yml" | sed -n 's/^ *image: *//p' | sort -u)
expected=$(for image in $IMAGES; do printf '%s/%s\n' "$REGISTRY" "$image"; done | sort -u)
if [ "$named" = "$expected" ]; then
    good "docker-compose.yml names the images of the release by digest"
else
    bad "docker-compose.yml names other images than release.env"
fi
if [ "$KEYS" = 0 ]; then
    warn "without --key only the files are compared: nothing proves who made them"
else
    check_attestations
    [ ! -s "$PRIVATE/files" ] || check_attested_files
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
[ "$KEYS" = 0 ] || say "$PRODUCT $VERSION: proven${INSTALLATION:+, except for what is yours in this installation}"
