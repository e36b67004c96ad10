#!/usr/bin/env bats
# HMAC-SHA256 in sh: the test vectors of RFC 4231.

load helper

vector() { # vector KEY DATA EXPECTED, all in hex
    cat >"$BATS_TEST_TMPDIR/vector.sh" <<'EOF'
HERE=$1
. "$HERE/lib/common.sh"
. "$HERE/lib/ecr.sh"
hmac "$2" "$(printf "$(octal_of "$3" 0)")"
EOF
    run $UNDER "$BATS_TEST_TMPDIR/vector.sh" "$BUNDLE" "$1" "$2"
    is "$3" "$output"
}
repeated() { # repeated HEX COUNT
    local i out=
    for ((i = 0; i < $2; i++)); do out=$out$1; done
    echo "$out"
}

@test "keys shorter than a block, of a block, and longer" {
    vector "$(repeated 0b 20)" 4869205468657265 b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7
    vector 4a656665 7768617420646f2079612077616e7420666f72206e6f7468696e673f \
        5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843
    vector "$(repeated aa 131)" \
        54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579204669727374 \
        60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54
}

@test "bytes that become NUL, a newline or % on the way" {
    # The masks of RFC 2104, so that the padded key has NUL bytes; compared with openssl.
    for key in 3636363636 5c5c5c5c5c 0a250a25 00ff00ff 253c2573; do
        expected=$(printf 'a b%%n' | openssl dgst -sha256 -mac HMAC -macopt hexkey:$key -r | cut -c1-64)
        vector $key 612062256e "$expected"
    done
}
