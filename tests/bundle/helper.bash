# What the bats files have in common. The environment says what is tested:
#   UNDER   the shell that runs the scripts, such as "busybox sh"
#   BUNDLE  an unpacked setup zip, in a folder with spaces in its name
#   NEXT    the same of the next release
# shellcheck disable=SC2154 # bats sets status and output

setup() {
    DIR="$BATS_TEST_TMPDIR/a customer's folder"
    ANSWERS="$BATS_TEST_TMPDIR/answers"
    FAKES="$BATS_TEST_TMPDIR/bin"
    mkdir -p "$FAKES"
    PATH="$FAKES:$PATH"
    TMPDIR="$BATS_TEST_TMPDIR/tmp"
    mkdir "$TMPDIR"
    HOME="$BATS_TEST_TMPDIR/home"
    mkdir "$HOME"
    export TMPDIR HOME
    answers ACME_HOST=docs.acme.example
}

answers() { # answers NAME=VALUE...: the file for --answers
    printf '%s\n' "$@" >"$ANSWERS"
    chmod 600 "$ANSWERS"
}
script() { # script NAME WORDS: run a script of the bundle in the shell under test
    local name=$1
    shift
    run $UNDER "$BUNDLE/$name" "$@" </dev/null
}
set_up() { script setup.sh --dir "$DIR" --answers "$ANSWERS" "$@"; }
fake() { # fake NAME < TEXT: a program that is found before the real one
    { echo '#!/bin/sh'; cat; } >"$FAKES/$1"
    chmod 755 "$FAKES/$1"
}
sums_again() { # sums_again FOLDER: SHA256SUMS of its files as they are now
    (cd "$1" && sed 's/^.*  //' SHA256SUMS | while IFS= read -r file; do sha256sum "$file"; done) >"$BATS_TEST_TMPDIR/sums"
    cp "$BATS_TEST_TMPDIR/sums" "$1/SHA256SUMS"
}
deadly() { # deadly BUNDLE: a copy whose scripts are killed when they put the file number $AT into place
    cp -r "$1" "$BATS_TEST_TMPDIR/deadly"
    cat >>"$BATS_TEST_TMPDIR/deadly/lib/common.sh" <<'EOF'
mv() {
    echo x >>"$COUNT"
    [ "$(wc -l <"$COUNT")" -ne "$AT" ] || kill -KILL 0
    command mv "$@"
}
EOF
    sums_again "$BATS_TEST_TMPDIR/deadly"
    COUNT="$BATS_TEST_TMPDIR/count" AT=0
    export COUNT AT
}
run_deadly() { # run_deadly AT SCRIPT WORDS
    rm -f "$COUNT"
    local script=$2
    AT=$1
    shift 2
    run setsid --wait $UNDER "$BATS_TEST_TMPDIR/deadly/$script" "$@" </dev/null
    AT=0
}
setting() { sed -n "s/^$1='\(.*\)'\$/\1/p" "$DIR/.env"; }

is() { # is EXPECTED FOUND
    [ "$1" = "$2" ] || { printf 'expected: %s\nfound:    %s\n' "$1" "$2" && return 1; }
}
status_is() {
    [ "$status" = "$1" ] || { printf 'status %s, expected %s:\n%s\n' "$status" "$1" "$output" && return 1; }
}
says() { # says TEXT...: each is in the output
    local text
    for text in "$@"; do
        case $output in
        *"$text"*) ;;
        *) printf 'not said: %s\nin: %s\n' "$text" "$output" && return 1 ;;
        esac
    done
}
nothing_left() { # no half file, no lock, no temporary file with answers
    is '' "$(find "$DIR" -name '*.new' -o -name .lock -o -name .writable)" && is '' "$(ls -A "$TMPDIR")"
}
