# shellcheck shell=sh
# The settings of the product: they are asked for, checked and written. settings.txt has one line for each:
# NAME|type|default|question. While a script runs, answers are in the file "$ANSWERED", in "$PRIVATE".

ANSWERS=     # file with answers of the customer; from start_answers on a copy, without what editors add
INTERACTIVE= # "yes" if someone can be asked
GIVEN=       # answers of the command line, one per line
WRONG=0      # answers that are not accepted
USER_ID=$(id -u)

# A file that is missing is told by check_files.
SETTINGS_LIST=$(sed '/^#/d; /^[[:space:]]*$/d; s/ *| */|/g' "$HERE/settings.txt" 2>/dev/null) || SETTINGS_LIST=
settings() { [ -z "$SETTINGS_LIST" ] || printf '%s\n' "$SETTINGS_LIST"; }
setting_names() { settings | cut -d'|' -f1; }
answer() { value "$1" "$ANSWERED"; }
complain() { # complain MESSAGE: one more answer that is not accepted
    printf 'error: %s\n' "$1" >&2
    WRONG=$((WRONG + 1))
}

set_answer() { # set_answer NAME=VALUE, from the command line
    case $1 in
    [A-Z]*=*) ;;
    *) usage_error "--set takes NAME=VALUE, not ${1%%=*}" ;;
    esac
    set_name=${1%%=*}
    case $(settings | grep "^$set_name|") in
    '') usage_error "there is no setting $set_name; there are: $(setting_names | tr '\n' ' ')" ;;
    *'|password|'* | *'|password?|'*)
        usage_error "$set_name is a password: every user can read a command line; put it into a file for --answers"
        ;;
    esac
    GIVEN="$GIVEN$set_name='${1#*=}'
"
}
check_answers() { # the file of --answers: it must hold nothing that would be ignored
    [ -n "$ANSWERS" ] || return 0
    check_known=" $(setting_names | tr '\n' ' ') AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY ECR_ENDPOINT "
    while IFS= read -r check_line || [ -n "$check_line" ]; do
        case $check_line in
        '' | '#'*) continue ;;
        [A-Z]*=*) ;;
        *)
            complain "$ANSWERS_FILE: a line is not NAME=value, but begins with ${check_line%%[!A-Za-z0-9_]*}"
            continue
            ;;
        esac
        case $check_known in
        *" ${check_line%%=*} "*) ;;
        *) complain "$ANSWERS_FILE: there is no setting ${check_line%%=*}" ;;
        esac
    done <"$ANSWERS"
}

start_answers() { # a private place for what is settled; removed by the script's own trap
    private_folder
    ANSWERED=$PRIVATE/answers
    : >"$ANSWERED"
    [ -n "$ANSWERS" ] || return 0
    { [ -r "$ANSWERS" ] && [ ! -d "$ANSWERS" ]; } || usage_error "the file $ANSWERS cannot be read"
    is_private "$ANSWERS" || usage_error "others can read $ANSWERS, and it may hold passwords: chmod 600 it"
    ANSWERS_FILE=$ANSWERS ANSWERS=$PRIVATE/given
    cat -- "$ANSWERS_FILE" >"$PRIVATE/as-given"
    case $(od -An -tx1 -N2 "$PRIVATE/as-given" | tr -d ' \n') in
    fffe | feff) usage_error "$ANSWERS_FILE is UTF-16, as programs on Windows write it: save it as UTF-8" ;;
    esac
    # A byte order mark or CRLF, from an editor on Windows, is not part of an answer.
    sed "1s/^$(printf '\357\273\277')//; s/$CR\$//" "$PRIVATE/as-given" >"$ANSWERS"
}
ask() { # ask QUESTION DEFAULT SECRET: what is typed, or the default
    [ -z "$3" ] || stty -echo 2>/dev/null || true
    if [ -n "$2" ] && [ -z "$3" ]; then
        printf '%s [%s]: ' "$1" "$2" >&2
    elif [ -n "$2" ]; then
        printf '%s [%s]: ' "$1" "keep" >&2
    else
        printf '%s: ' "$1" >&2
    fi
    ask_typed=
    IFS= read -r ask_typed || { [ -n "$ask_typed" ] || ENDED=yes; }
    if [ -n "$3" ]; then
        stty echo 2>/dev/null || true
        echo >&2
    fi
    printf '%s' "${ask_typed:-$2}"
    [ -z "${ENDED:-}" ]
}

collect() { # settle every setting: --set, --answers, what was set before, the default; then ask
    while IFS='|' read -r c_name c_type c_default c_question <&3; do
        c_optional=
        case $c_type in
        *'?') c_optional=yes c_type=${c_type%?} ;;
        esac
        c_before=$(value "$c_name" "$DIR/.env")
        c_default=${c_before:-$c_default}
        c_given=
        c_given_by='file'
        case "
$GIVEN" in
        *"
$c_name='"*) c_given_by=option ;;
        esac
        if [ $c_given_by = option ]; then
            c_given=yes c_value=$(printf '%s' "$GIVEN" | sed -n "s/^$c_name='\(.*\)'\$/\1/p" | tail -n 1)
        elif [ -n "$ANSWERS" ] && is_set "$c_name" "$ANSWERS"; then
            c_given=yes c_value=$(value "$c_name" "$ANSWERS")
        else
            c_value=$c_default
        fi
        c_secret=
        [ "$c_type" != password ] || c_secret=yes
        [ "$c_secret$c_default" != yesgenerate ] || c_question="$c_question (empty: one is generated)" c_default=
        while :; do
            if [ -z "$c_given" ] && [ -n "$INTERACTIVE" ]; then
                c_value=$(ask "$c_question" "$c_default" "$c_secret") || die "no more answers: nothing was written"
                [ -n "$c_value" ] || [ -z "$c_secret" ] || c_value=generate
            fi
            if [ "$c_type$c_value" = passwordgenerate ]; then
                c_value=$(od -An -v -N24 -tx1 /dev/urandom | tr -d ' \n')
            fi
            if c_problem=$(problem_of "$c_name" "$c_type" "$c_optional" "$c_value"); then
                printf "%s='%s'\n" "$c_name" "$c_value" >>"$ANSWERED"
                break
            elif [ -z "$c_given" ] && [ -n "$INTERACTIVE" ]; then
                printf '  %s\n' "$c_problem" >&2
            else
                complain "$c_name $c_problem"
                break
            fi
        done
    done 3<<EOF
$(settings)
EOF
}

problem_of() { # problem_of NAME TYPE OPTIONAL VALUE: says what is wrong with it, and fails then
    if [ -z "$4" ]; then
        [ -z "$3" ] || return 0
        echo "is missing: give it with --answers${2:+, its type is $2}"
        return 1
    fi
    case $4 in
    *\'* | *\"* | *\\* | *\$* | *\`* | *\|*)
        echo "may not hold quotes, backslashes, \$, | or \`: Compose would interpret them"
        return 1
        ;;
    *[[:cntrl:]]*)
        echo "holds a control character"
        return 1
        ;;
    esac
    case $2 in
    host)
        # Labels of up to 63 characters, 253 in all (RFC 1123, section 2.1; RFC 1035, section 2.3.4).
        { [ ${#4} -le 253 ] && printf '%s\n' "$4" |
            grep -Eq '^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$'; } ||
            { echo "is no host name such as server.example.com: $4" && return 1; }
        ;;
    port)
        { is_number "$4" && [ "$4" -ge 1 ] && [ "$4" -le 65535 ]; } ||
            { echo "is no port from 1 to 65535: $4" && return 1; }
        port_other=$(sed -n "s/^\([A-Z0-9_]*\)='$4'\$/\1/p" "$ANSWERED" | while read -r port_name; do
            ! settings | grep -q "^$port_name|port" || echo "$port_name"
        done)
        [ -z "$port_other" ] || { echo "is the port of $port_other already: $4" && return 1; }
        ;;
    number) is_number "$4" || { echo "is no number: $4" && return 1; } ;;
    path)
        case $4 in
        *:* | */../* | */..) echo "may hold neither : nor ..: $4" && return 1 ;;
        /*) ;;
        *) echo "is no absolute path: $4" && return 1 ;;
        esac
        [ ! -e "$4" ] || [ -d "$4" ] || { echo "is no folder: $4" && return 1; }
        ;;
    password)
        [ ${#4} -ge 12 ] || { echo "is too short, a password has 12 or more characters" && return 1; }
        ;;
    certificate) certificate_problem "$4" ;;
    key) key_problem "$4" "$1" ;;
    choice\(*)
        choices=${2#"choice("}
        case ",${choices%")"}," in
        *",$4,"*) ;;
        *) echo "is none of ${2#choice}: $4" && return 1 ;;
        esac
        ;;
    esac
}
is_number() {
    case $1 in
    '' | *[!0-9]* | ??????????*) return 1 ;;
    esac
}

# A certificate or key that was copied before is good enough if its file is gone.
pem_source() { # pem_source NAME PATH
    if [ ! -e "$2" ] && [ "$2" = "$(value "$1" "$DIR/.env")" ] && [ -s "$DIR/secrets/$1.pem" ]; then
        printf '%s\n' "$DIR/secrets/$1.pem"
    else
        printf '%s\n' "$2"
    fi
}
certificate_problem() { # certificate_problem PATH
    cert_file=$(pem_source "$c_name" "$1")
    [ -r "$cert_file" ] || { echo "cannot be read: $1" && return 1; }
    have openssl || return 0
    openssl x509 -in "$cert_file" -noout 2>/dev/null || { echo "is no certificate in PEM: $1" && return 1; }
    openssl x509 -in "$cert_file" -noout -checkend 0 >/dev/null ||
        { echo "has expired: $1, $(openssl x509 -in "$cert_file" -noout -enddate)" && return 1; }
    openssl x509 -in "$cert_file" -noout -checkend 2592000 >/dev/null ||
        warn "$1 expires soon: $(openssl x509 -in "$cert_file" -noout -enddate)"
    cert_host=$(first_of host)
    [ -z "$cert_host" ] ||
        openssl x509 -in "$cert_file" -noout -checkhost "$cert_host" | grep -q 'does match' ||
        { echo "is not for the host $cert_host: $1" && return 1; }
}
key_problem() { # key_problem PATH NAME: the key has to belong to the certificate before it
    key_file=$(pem_source "$2" "$1")
    [ -r "$key_file" ] || { echo "cannot be read: $1" && return 1; }
    have openssl || return 0
    key_public=$(openssl pkey -in "$key_file" -passin pass: -pubout 2>/dev/null) ||
        { echo "is no private key in PEM, or one with a passphrase: $1" && return 1; }
    key_name=$(settings | awk -F'|' -v own="$2" '$1 == own { print last } $2 ~ /^certificate/ { last = $1 }')
    key_certificate=$(answer "$key_name")
    [ -n "$key_certificate" ] || { echo "has no certificate that it belongs to" && return 1; }
    [ "$key_public" = "$(openssl x509 -in "$(pem_source "$key_name" "$key_certificate")" -noout -pubkey)" ] ||
        { echo "is not the key of $key_certificate: $1" && return 1; }
}
first_of() { # first_of TYPE: the answer to the first setting of that type
    first_name=$(settings | awk -F'|' -v type="$1" '$2 == type || $2 == type "?" { print $1; exit }')
    [ -z "$first_name" ] || answer "$first_name"
}

container_user() { # container_user uid|gid: what containers run as: the user who can read the files here, never root
    if [ "$USER_ID" != 0 ]; then
        case $1 in
        uid) printf '%s\n' "$USER_ID" ;;
        gid) id -g ;;
        esac
    else
        container_before=$(value "RUN_$(printf '%s' "$1" | tr '[:lower:]' '[:upper:]')" "$DIR/.env")
        printf '%s\n' "${container_before:-1000}"
    fi
}
settings_file() { # the text of .env from what is settled; the customer's own lines stay
    echo "# Settings of $PRODUCT, read by Docker Compose. Made by setup.sh: run it again to change them."
    echo "# Lines of your own, for docker-compose.override.yml, are kept."
    echo "COMPOSE_PROJECT_NAME='$(project_name)'"
    echo "RUN_UID='$(container_user uid)'"
    echo "RUN_GID='$(container_user gid)'"
    echo "ECR_ENDPOINT='$(own_endpoint)'"
    cat -- "$ANSWERED"
    file_known="COMPOSE_PROJECT_NAME|RUN_UID|RUN_GID|ECR_ENDPOINT|$(setting_names | tr '\n' '|')#"
    [ ! -r "$DIR/.env" ] || sed "s/$CR\$//" "$DIR/.env" | grep '^[A-Za-z_]' | grep -Ev "^($file_known)=" || true
}
write_settings() { # write .env, secrets/ and config/ from what is settled
    mkdir -p -- "$DIR/secrets" "$DIR/config"
    chmod 700 "$DIR/secrets" "$DIR/config"
    while IFS='|' read -r w_name w_type _ <&3; do
        case $w_type in
        certificate* | key*)
            w_path=$(answer "$w_name")
            # Without one, an empty file: Docker would make a folder of that name.
            if [ -z "$w_path" ]; then w_path=/dev/null; else w_path=$(pem_source "$w_name" "$w_path"); fi
            cat -- "$w_path" >"$PRIVATE/pem"
            put "$DIR/secrets/$w_name.pem" 600 <"$PRIVATE/pem"
            own "$DIR/secrets/$w_name.pem"
            ;;
        esac
    done 3<<EOF
$(settings)
EOF
    settings_file >"$PRIVATE/env"
    put "$DIR/.env" 600 <"$PRIVATE/env"
    for w_template in "$HERE"/config/*.in; do
        [ -e "$w_template" ] || continue
        w_target=${w_template##*/}
        w_target=$DIR/config/${w_target%.in}
        render "$w_template" >"$PRIVATE/config"
        put "$w_target" 600 <"$PRIVATE/config"
        own "$w_target"
    done
}
project_name() {
    project_before=$(value COMPOSE_PROJECT_NAME "$DIR/.env")
    printf '%s\n' "${project_before:-$PROJECT}"
}
own_endpoint() {
    if [ -n "$ANSWERS" ] && is_set ECR_ENDPOINT "$ANSWERS"; then
        value ECR_ENDPOINT "$ANSWERS"
    elif is_set ECR_ENDPOINT "$DIR/.env"; then
        value ECR_ENDPOINT "$DIR/.env"
    else
        printf '%s\n' "${AWS_ENDPOINT_URL_ECR:-}"
    fi
}
own() { # own FILE: containers read it as their user
    [ "$USER_ID" != 0 ] || chown "$(container_user uid):$(container_user gid)" "$1"
}
render() { # render TEMPLATE: @NAME@ becomes the answer
    awk 'FNR == NR {
            at = index($0, "="); name = substr($0, 1, at - 1); text = substr($0, at + 1)
            gsub(/^\047|\047$/, "", text); answer[name] = text; next
        }
        {
            out = ""; rest = $0
            while (match(rest, /@[A-Z][A-Z0-9_]+@/)) {
                name = substr(rest, RSTART + 1, RLENGTH - 2)
                out = out substr(rest, 1, RSTART - 1)
                out = out ((name in answer) ? answer[name] : substr(rest, RSTART, RLENGTH))
                rest = substr(rest, RSTART + RLENGTH)
            }
            print out rest
        }' "$ANSWERED" "$1"
}
