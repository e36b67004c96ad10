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
set_up() { script setup.sh --dir "$DIR" --answers "$ANSWERS" --offline "$@"; }
is_set_up() { # DIR is an installation of 8.1.0: a copy of the first one that the file's tests made
    local first="$BATS_FILE_TMPDIR/installation"
    if [ ! -d "$first" ]; then
        DIR=$first.new set_up --non-interactive
        status_is 0
        mv "$first.new" "$first"
    fi
    cp -a "$first" "$DIR"
}
set_up_asking() { script setup.sh --dir "$DIR" --answers "$ANSWERS" --no-login "$@"; }
images_of_registry() { # images_of_registry FOLDER: files of images, and both bundles with their digests
    mkdir -p "$1/served"
    cp -r "$BUNDLE" "$1/this"
    cp -r "$NEXT" "$1/next"
    local name letter folder
    for name in rms:a viewer:b; do
        letter=${name#*:} name=${name%:*}
        printf '{"of":"%s"}' "$name" >"$1/served/$name"
        for folder in this next; do
            sed -i "s/$letter\{64\}/$(sha256sum <"$1/served/$name" | cut -c1-64)/" "$1/$folder/release.env" "$1/$folder/docker-compose.yml"
        done
    done
    sed -i "s/^RELEASE_TAG=.*/RELEASE_TAG='8.1.1'/" "$1/next/release.env"
    sums_again "$1/this"
    sums_again "$1/next"
}
with_registry() { # copies of both bundles whose images a registry has: a stand-in for curl, serving the files of SERVED
    SERVED="$BATS_TEST_TMPDIR/served"
    export SERVED
    local made="$BATS_FILE_TMPDIR/registry"
    if [ ! -d "$made" ]; then
        images_of_registry "$made.new"
        mv "$made.new" "$made"
    fi
    cp -r "$made/served" "$SERVED"
    cp -r "$made/this" "$made/next" "$BATS_TEST_TMPDIR"
    BUNDLE="$BATS_TEST_TMPDIR/this" NEXT="$BATS_TEST_TMPDIR/next"
    fake curl <<'EOF'
given=$(cat) out=/dev/null
while [ $# -gt 0 ]; do
    [ "$1" != -o ] || out=$2
    shift
done
[ ! -e "$SERVED/down" ] || { echo 'curl: (7) no connection' >&2 && exit 7; }
case $given in
*GetAuthorizationToken*) printf '{"authorizationData":[{"authorizationToken":"%s"}]}\n200' "$(printf AWS:token | base64)" ;;
*/manifests/*)
    name=${given%%/manifests/*} tag=${given#*/manifests/}
    name=${name##*/} tag=${tag%%\"*}
    if [ -e "$SERVED/answer" ]; then
        sed 1d "$SERVED/answer" >"$out"
        sed -n 1p "$SERVED/answer" | tr -d '\n'
    elif [ -e "$SERVED/withdrawn-$tag" ] && [ "$name" = viewer ]; then
        echo '{"errors":[{"code":"MANIFEST_UNKNOWN"}]}' >"$out"
        printf 404
    else
        cat "$SERVED/$name" >"$out"
        printf 200
    fi
    ;;
*) date -u '+Date: %a, %d %b %Y %H:%M:%S GMT' ;;
esac
EOF
    answers ACME_HOST=docs.acme.example AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE \
        AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
}
fake() { # fake NAME < TEXT: a program that is found before the real one
    { echo '#!/bin/sh'; cat; } >"$FAKES/$1"
    chmod 755 "$FAKES/$1"
}
fake_snap() { # the docker that is there becomes one of the snap store: it sees what is in HOME, but for hidden folders
    mv "$FAKES/docker" "$FAKES/confined"
    fake snap <<'EOF'
for word in "$(pwd -P)" "$@"; do
    case $word in
    "$HOME"/.* | "$HOME"/snap/*) ;;
    "$HOME"/* | [!/]*) continue ;;
    esac
    case $* in
    *compose*-f* | *compose*pull* | *compose*up*) echo "open $word: permission denied" >&2 && exit 1 ;;
    esac
done
exec confined "$@"
EOF
    ln -s snap "$FAKES/docker"
}
fake_podman() { # the docker of the package podman-docker, which answers as Podman 4.3.1 does
    fake docker <<'EOF'
echo 'Emulate Docker CLI using podman. Create /etc/containers/nodocker to quiet msg.' >&2
case $* in
--version) echo 'podman version 4.3.1' ;;
'version -f {{.Server.Version}}') echo 4.3.1 ;;
version) ;;
*) echo "Error: unrecognized command" >&2 && exit 125 ;;
esac
EOF
}
sums_again() { # sums_again FOLDER: SHA256SUMS of its files as they are now
    (cd "$1" && sed 's/^.*  //' SHA256SUMS | tr '\n' '\0' | xargs -0 sha256sum >"$BATS_TEST_TMPDIR/sums")
    cp "$BATS_TEST_TMPDIR/sums" "$1/SHA256SUMS"
}
planted() { # planted NAME...: PLANTED is a copy of the bundle in which, right after the first mktemp, another
    # user of the machine plants links beside what it made, under names that scripts might come to use
    PLANTED="$BATS_TEST_TMPDIR/planted"
    cp -r "$BUNDLE" "$PLANTED"
    cat >>"$PLANTED/lib/common.sh" <<EOF
mktemp() {
    planted_made=\$(command mktemp "\$@") || return 1
    echo "\$planted_made" >>"$BATS_TEST_TMPDIR/made"
    if [ ! -e "$BATS_TEST_TMPDIR/mode" ]; then
        stat -c '%F %a' "\$planted_made" >"$BATS_TEST_TMPDIR/mode"
        for planted_name in $*; do ln -s "$BATS_TEST_TMPDIR/stolen" "\$planted_made.\$planted_name"; done
    fi
    echo "\$planted_made"
}
EOF
    sums_again "$PLANTED"
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
# shellcheck disable=SC2034 # tests go through SOME
some() { # some VALUE...: SOME is what a test goes through. How data is damaged is judged by sed, awk, sha256sum and
    # openssl, not by the shell: dash sees every value with GNU's tools and busybox's sh with busybox's, bash the first
    SOME=("$@")
    [ "$UNDER" != bash ] || [ "${CASES:-}" = all ] || SOME=("$1")
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
    is '' "$(find "$DIR" -name '*.new' -o -name .lock -o -name '.writable*')" && is '' "$(ls -A "$TMPDIR")"
}
