#!/usr/bin/env bats
# verify.sh: what it proves with sh, sha256sum and openssl, and what it refuses.

load helper

copy_bundle() {
    cp -r "$BUNDLE" "$BATS_TEST_TMPDIR/a copy"
    BUNDLE="$BATS_TEST_TMPDIR/a copy"
}

@test "a good bundle is proven by the vendor's key" {
    script verify.sh --key "$KEYS/promotion.pub"
    status_is 0
    says 'signed with' 'says PASSED' 'names skydrm/rms with that digest' 'names skydrm/viewer with that digest' \
        'every attestation that it rests on is here' 'SkyDRM 8.1.0: proven'
    is '' "$(ls -A "$TMPDIR")"
}

@test "keys of both kinds that the vendor may have" {
    BUNDLE="$KEYS/nist/SkyDRM-setup-8.1.0" script verify.sh --key "$KEYS/nist.pub"
    status_is 0
    BUNDLE="$KEYS/nist/SkyDRM-setup-8.1.0" script verify.sh --key "$KEYS/promotion.pub"
    status_is 1
}

@test "an installation is proven too, with an override of the customer's" {
    set_up
    echo '# mine' >>"$DIR/docker-compose.override.yml"
    run $UNDER "$DIR/verify.sh" --key "$KEYS/promotion.pub" </dev/null
    status_is 0
}

@test "without a key the files are compared, and it says that this proves nothing more" {
    script verify.sh
    status_is 0
    says 'nothing proves who made them'
}

@test "another key is refused, and wrong options are told" {
    script verify.sh --key "$KEYS/stranger.pub"
    status_is 1
    says 'is not signed with' 'is not proven'
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

@test "attestations that are missing, swapped or altered are found" {
    copy_bundle
    cp "$BUNDLE/attestations.jsonl" "$BATS_TEST_TMPDIR/whole"
    for change in 2d '$d' '1s/candidate":"..../candidate":"AAAA/' '3s/"sig":"..../"sig":"AAAA/' '$s/"payload":"./"payload":"f/'; do
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
