#!/usr/bin/env bats
# verify.sh: what it proves with sh, sha256sum and openssl, and what it refuses.

load helper

copy_bundle() {
    cp -r "$BUNDLE" "$BATS_TEST_TMPDIR/a copy"
    BUNDLE="$BATS_TEST_TMPDIR/a copy"
}

# bats test_tags=signature
@test "a good bundle is proven by the vendor's key" {
    script verify.sh --key "$KEYS/promotion.pub"
    status_is 0
    says 'the list of files is signed with the key' 'ok    14 files are those' 'says PASSED' 'names skydrm/rms with that digest' 'names skydrm/viewer with that digest' \
        'every attestation that it rests on is here' 'SkyDRM 8.1.0: proven'
    is '' "$(ls -A "$TMPDIR")"
}

# bats test_tags=ed25519
@test "keys of both kinds that the vendor may have" {
    BUNDLE="$KEYS/ecdsa/SkyDRM-setup-8.1.0" script verify.sh --key "$KEYS/ecdsa/promotion.pub"
    status_is 0
    BUNDLE="$KEYS/ecdsa/SkyDRM-setup-8.1.0" script verify.sh --key "$KEYS/promotion.pub"
    status_is 1
}

@test "an installation is proven too, with an override of the customer's" {
    is_set_up
    run $UNDER "$DIR/verify.sh" --key "$KEYS/promotion.pub" </dev/null
    status_is 0
    case $output in *'changed by you'*) false ;; esac
    echo '# mine' >>"$DIR/docker-compose.override.yml"
    mkdir "$DIR/data"
    echo mine >"$DIR/data/x.yml"
    run $UNDER "$DIR/verify.sh" --key "$KEYS/promotion.pub" </dev/null
    status_is 0
    says 'note  changed by you since delivery: docker-compose.override.yml' 'ok    13 files are those' \
        'attested by no one: .env config/acme.conf' 'SkyDRM 8.1.0: proven, except for what is yours in this installation'
}

@test "without a key the files are compared, and it says that this proves nothing more" {
    script verify.sh
    status_is 0
    says 'nothing proves who made them'
    case $output in *proven*) false ;; esac
}

# bats test_tags=signature
@test "another key is refused, and wrong options are told" {
    script verify.sh --key "$KEYS/stranger.pub"
    status_is 1
    says 'the list of files is not signed with the key' 'the last attestation is not signed with' 'is not proven'
    script verify.sh --key "$KEYS/stranger.pub" --key "$KEYS/promotion.pub"
    status_is 0
    script verify.sh --dir "$BATS_TEST_TMPDIR/none"
    status_is 2
    script verify.sh --key "$BUNDLE/README.md"
    status_is 2
    says 'is no public key'
    script verify.sh --key "$BATS_TEST_TMPDIR/none"
    status_is 2
    script verify.sh --nonsense
    status_is 2
}

@test "an altered file, another image and another digest are found" {
    copy_bundle
    echo '# more' >>"$BUNDLE/setup.sh"
    script verify.sh --key "$KEYS/promotion.pub"
    status_is 1
    says 'setup.sh is missing or altered'
    sed -i 's/aaaaaaaa/cccccccc/' "$BUNDLE/docker-compose.yml" "$BUNDLE/release.env"
    sums_again "$BUNDLE"
    script verify.sh --key "$KEYS/promotion.pub"
    status_is 1
    says 'ok    the files are those' 'does not name skydrm/rms with the digest sha256:cccccccc'
    sed -i 's/cccccccc/aaaaaaaa/' "$BUNDLE/release.env"
    script verify.sh
    status_is 1
    says 'docker-compose.yml names other images'
}

# bats test_tags=signature
@test "attestations that are missing, swapped or altered are found" {
    copy_bundle
    cp "$BUNDLE/attestations.jsonl" "$BATS_TEST_TMPDIR/whole"
    some 2d '$d' '1s/candidate":"..../candidate":"AAAA/' '3s/"sig":"..../"sig":"AAAA/' '$s/"payload":"./"payload":"f/'
    for change in "${SOME[@]}"; do
        sed "$change" "$BATS_TEST_TMPDIR/whole" >"$BUNDLE/attestations.jsonl"
        script verify.sh --key "$KEYS/promotion.pub"
        status_is 1
        says 'FAIL'
    done
}

@test "images of this Docker are compared by digest" {
    . "$BUNDLE/release.env"
    fake docker <<EOF
case "\$*" in *viewer*) exit 1 ;; esac
printf 'mirror.example/rms@sha256:0\n%s\n' "\$5"
EOF
    script verify.sh --images
    status_is 1
    says 'ok    this Docker has skydrm/rms' 'FAIL  this Docker does not have skydrm/viewer'
}

@test "nothing goes through a name that another user can know beforehand" {
    planted d
    BUNDLE="$PLANTED" script verify.sh --key "$KEYS/promotion.pub"
    says 'ok    the list of files is signed with'
    is 'directory 700' "$(cat "$BATS_TEST_TMPDIR/mode")"
}

# bats test_tags=signature
@test "templates that were changed are found by the untouched script, whatever the hashes say" {
    copy_bundle
    some docker-compose.yml settings.txt config/acme.conf.in release.env README.md lib/ecr.sh
    for path in "${SOME[@]}"; do
        cp "$BUNDLE/$path" "$BATS_TEST_TMPDIR/kept"
        sed -i 's/^  rms:$/  rms:\n    privileged: true/; s/|generate|/|correct-horse-battery|/; $a# more' "$BUNDLE/$path"
        sums_again "$BUNDLE"
        script verify.sh --key "$KEYS/promotion.pub"
        status_is 1
        says 'ok    the files are those of SHA256SUMS' "FAIL  $path is missing, or not the file that was attested" 'is not proven'
        mv "$BATS_TEST_TMPDIR/kept" "$BUNDLE/$path"
    done
    printf 'services: {rms: {image: evil.example/rms, privileged: true}}\n' >"$BUNDLE/docker-compose.override.yml"
    sums_again "$BUNDLE"
    script verify.sh --key "$KEYS/promotion.pub"
    status_is 1
    says 'FAIL  docker-compose.override.yml is missing, or not the file that was attested' 'is not proven'
}

@test "a zip that passes for an installation is not called proven without saying what is not" {
    copy_bundle
    echo "SETTING='x'" >"$BUNDLE/.env"
    printf 'services: {rms: {privileged: true}}\n' >"$BUNDLE/docker-compose.override.yml"
    sums_again "$BUNDLE"
    run $UNDER "$NEXT/verify.sh" --dir "$BUNDLE" --key "$KEYS/promotion.pub" </dev/null
    status_is 0
    says 'note  changed by you since delivery: docker-compose.override.yml' 'note  there is a .env here' \
        'SkyDRM 8.1.0: proven, except for what is yours in this installation'
}

@test "settings that lead Docker Compose to other files are found" {
    is_set_up
    cp "$DIR/.env" "$BATS_TEST_TMPDIR/env"
    mkdir -p "$DIR/data"
    some "COMPOSE_FILE='docker-compose.yml:data/more'" 'export COMPOSE_FILE=data/more' ' COMPOSE_ENV_FILES: x' 'COMPOSE_PATH_SEPARATOR=,'
    for line in "${SOME[@]}"; do
        { cat "$BATS_TEST_TMPDIR/env" && printf '%s\n' "$line"; } >"$DIR/.env"
        run $UNDER "$DIR/verify.sh" --key "$KEYS/promotion.pub" </dev/null
        status_is 1
        says 'FAIL  .env leads Docker Compose to other files than those of the release: COMPOSE_'
    done
}

@test "files that nobody attested, links and other lists are found" {
    copy_bundle
    cp "$BUNDLE/SHA256SUMS" "$BATS_TEST_TMPDIR/sums.good"
    some compose.yaml lib/more.sh config/more.in .hidden
    for path in "${SOME[@]}"; do
        echo x >"$BUNDLE/$path"
        script verify.sh --key "$KEYS/promotion.pub"
        status_is 1
        says "FAIL  $path is no file of the release"
        rm "$BUNDLE/$path"
    done
    printf '%s  ../x\n' "$(printf x | sha256sum | cut -c1-64)" >>"$BUNDLE/SHA256SUMS"
    printf x >"$BUNDLE/../x"
    script verify.sh --key "$KEYS/promotion.pub"
    status_is 1
    says 'SHA256SUMS names other files'
    cp "$BATS_TEST_TMPDIR/sums.good" "$BUNDLE/SHA256SUMS"
    mv "$BUNDLE/settings.txt" "$BATS_TEST_TMPDIR/elsewhere"
    ln -s "$BATS_TEST_TMPDIR/elsewhere" "$BUNDLE/settings.txt"
    script verify.sh --key "$KEYS/promotion.pub"
    status_is 1
    says 'settings.txt is a link'
    set_up
    rm "$BUNDLE/settings.txt"
    set_up() { :; }
    for path in compose.yaml docker-compose.override.yaml lib/more.sh config/more.in start.sh; do
        echo x >"$DIR/$path"
        run $UNDER "$DIR/verify.sh" --key "$KEYS/promotion.pub" </dev/null
        status_is 1
        says "FAIL  $path is no file of the release, and would be used"
        rm "$DIR/$path"
    done
}

@test "a script from elsewhere proves a zip, and runs nothing of it" {
    copy_bundle
    run $UNDER "$NEXT/verify.sh" --dir "$BUNDLE" --key "$KEYS/promotion.pub" </dev/null
    status_is 0
    says 'SkyDRM 8.1.0: proven'
    printf '#!/bin/sh\necho proven\n' >"$BUNDLE/verify.sh"
    echo 'touch "$BATS_TEST_TMPDIR/ran"' | tee -a "$BUNDLE/lib/common.sh" >>"$BUNDLE/release.env"
    sums_again "$BUNDLE"
    run $UNDER "$NEXT/verify.sh" --dir "$BUNDLE" --key "$KEYS/promotion.pub" </dev/null
    status_is 1
    says 'verify.sh is missing, or not the file' 'lib/common.sh is missing, or not the file' 'is not proven'
    [ ! -e "$BATS_TEST_TMPDIR/ran" ]
}

# bats test_tags=signature
@test "envelopes in any other form than the one that is written are refused" {
    copy_bundle
    cp "$BUNDLE/attestations.jsonl" "$BATS_TEST_TMPDIR/whole"
    # A key twice, a key in other letters, a space, two signatures, no signature, another type, a blank line.
    some '$s/^{/{"payload":"AAAA",/' '$s/^{/{"Payload":"AAAA",/' '$s/,"sig"/, "sig"/' \
        '$s/]}$/,{"keyid":"","sig":"AAAA"}]}/' '$s/"signatures":.*/"signatures":[]}/' '$s/in-toto+json/in-toto/' '$a\\' \
        '$s/"sig":"....*"}]}/"sig":"AAAA"}]}/' '2{h;d};3G' '1s/"schema"/"x":"","schema"/'
    for change in "${SOME[@]}"; do
        sed "$change" "$BATS_TEST_TMPDIR/whole" >"$BUNDLE/attestations.jsonl"
        ! cmp -s "$BATS_TEST_TMPDIR/whole" "$BUNDLE/attestations.jsonl"
        script verify.sh --key "$KEYS/promotion.pub"
        status_is 1
        says 'FAIL' 'is not proven'
    done
}

# bats test_tags=ed25519
@test "an openssl that cannot verify Ed25519 says so, and still verifies ECDSA P-256" {
    # What 1.1.1 says: pkeyutl has no -rawin before 3.0.
    cp -r "$KEYS/ecdsa/SkyDRM-setup-8.1.0" "$BATS_TEST_TMPDIR/ecdsa"
    for folder in "$BUNDLE" "$BATS_TEST_TMPDIR/ecdsa"; do
        fake openssl <<'EOF'
case "$1" in
version) echo 'OpenSSL 1.1.1n  15 Mar 2022' && exit ;;
pkeyutl) echo "pkeyutl: Option unknown option" >&2 && exit 1 ;;
esac
exec /usr/bin/openssl "$@"
EOF
        if [ "$folder" = "$BUNDLE" ]; then
            script verify.sh --key "$KEYS/promotion.pub"
            status_is 1
            says 'OpenSSL 1.1.1n' 'cannot verify the Ed25519 key' 'nothing is proven'
        else
            run $UNDER "$folder/verify.sh" --key "$KEYS/ecdsa/promotion.pub" </dev/null
            status_is 0
            says 'SkyDRM 8.1.0: proven'
        fi
    done
}

@test "files that cannot be compared are not proven" {
    copy_bundle
    echo x >"$BUNDLE/compose.yaml"
    for option in vx v; do
        fake grep <<EOF
PATH=\${PATH#*:}
case \$1 in -$option) echo 'grep: write error' >&2 && exit 2 ;; esac
exec grep "\$@"
EOF
        script verify.sh --key "$KEYS/promotion.pub"
        status_is 1
        case $output in *': proven'*) false ;; esac
    done
}

@test "a list of sums that is empty, cut off or of another form proves no file" {
    copy_bundle
    cp "$BUNDLE/SHA256SUMS" "$BATS_TEST_TMPDIR/whole"
    for change in d '$s/^........//' 's/  / /'; do
        sed "$change" "$BATS_TEST_TMPDIR/whole" >"$BUNDLE/SHA256SUMS"
        script verify.sh
        status_is 1
        says 'FAIL  files: SHA256SUMS is altered'
    done
}
