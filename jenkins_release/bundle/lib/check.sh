# shellcheck shell=sh
# The preflight: what this machine and this access key need, each with what to do if it is missing.

FAILED=0
good() { printf 'ok    %s\n' "$1"; }
note() { printf 'note  %s\n' "$1"; }
bad() { # bad WHAT HINT
    printf 'FAIL  %s\n      %s\n' "$1" "$2"
    FAILED=$((FAILED + 1))
}

check_all() {
    check_programs
    check_docker
    check_space
    check_ports
    check_network
    check_access
    [ "$FAILED" = 0 ] || return 1
}
check_programs() {
    for p_name in awk sed grep od df; do
        have "$p_name" || bad "the program $p_name is missing" "install it"
    done
    if have sha256sum || have openssl; then :; else bad "neither sha256sum nor openssl is there" "install one"; fi
    if have curl; then :; elif have aws; then
        note "curl is missing: hosts and clock are not checked"
    else
        bad "neither curl nor the AWS command line is there" "install curl: the login to the registry needs it"
    fi
    have openssl || note "openssl is missing: certificates and signatures are not checked"
}
check_docker() {
    if ! have docker; then
        bad "Docker is not installed" "https://docs.docker.com/engine/install/ says how to install it"
        return 0
    fi
    d_posing=$(posing)
    if [ -n "$d_posing" ]; then
        bad "$d_posing" "$NO_PODMAN"
        return 0
    fi
    case $(sees "$DIR") in
    no) bad "$BLIND $DIR" "$(elsewhere)" ;;
    asked) note "Docker is from the snap store, and sees $DIR $ON_REQUEST" ;;
    esac
    d_version=$(docker version -f '{{.Server.Version}}' 2>/dev/null) || d_version=
    if [ -z "$d_version" ]; then
        bad "the Docker daemon does not answer to $(user_name)" \
            "start it, or add this user to the group docker and log in again"
        return 0
    fi
    if at_least "$d_version" "$MIN_DOCKER"; then
        good "Docker $d_version"
    else
        bad "Docker $d_version is too old" "$PRODUCT needs $MIN_DOCKER or newer"
    fi
    d_platform=$(docker version -f '{{.Server.Os}}/{{.Server.Arch}}' 2>/dev/null)
    case " $PLATFORM " in
    *" $d_platform "* | *" $d_platform/"*) ;;
    *) bad "this machine is $d_platform" "the images of $PRODUCT are for $PLATFORM" ;;
    esac
    if ! find_compose; then
        bad "Docker Compose is not installed" "https://docs.docker.com/compose/install/ says how"
        return 0
    fi
    d_compose=$($COMPOSE version --short 2>/dev/null)
    if at_least "$d_compose" "$MIN_COMPOSE"; then
        good "Docker Compose $d_compose, as '$COMPOSE'"
    else
        bad "Docker Compose $d_compose is too old" "$PRODUCT needs $MIN_COMPOSE or newer"
    fi
    case $d_compose in
    1.*) note "Docker Compose 1 gets no more updates from Docker: install version 2 or later" ;;
    esac
}
check_space() {
    s_root=$(docker info -f '{{.DockerRootDir}}' 2>/dev/null) || s_root=
    [ -d "$s_root" ] || s_root=$(nearest "$DIR")
    s_free=$(df -Pk -- "$s_root" 2>/dev/null | awk 'NR == 2 { printf "%d", $4 * 1024 / 1e9 }')
    if [ "${s_free:-0}" -ge "$MIN_DISK_GB" ]; then
        good "${s_free:-0} GB free below $s_root"
    else
        bad "only ${s_free:-0} GB are free below $s_root" "images and data of $PRODUCT need $MIN_DISK_GB GB"
    fi
    s_memory=$(awk '/^MemTotal:/ { printf "%d", $2 * 1024 / 1e9 + 0.5 }' /proc/meminfo 2>/dev/null)
    if [ "${s_memory:-0}" -ge "$MIN_MEMORY_GB" ]; then
        good "${s_memory:-0} GB of memory"
    else
        bad "this machine has ${s_memory:-0} GB of memory" "$PRODUCT needs $MIN_MEMORY_GB GB"
    fi
}
check_ports() {
    if [ -n "${COMPOSE:-}" ] && [ -f "$DIR/docker-compose.yml" ] && [ -n "$(compose ps -q 2>/dev/null)" ]; then
        note "$PRODUCT is already running: its ports are not checked"
        return 0
    fi
    settings | grep '|port' | cut -d'|' -f1,3 | tr '|' ' ' >"$PRIVATE/ports"
    while read -r p_name p_default; do
        p_port=$(answer "$p_name")
        p_port=${p_port:-${p_default:-}}
        is_number "$p_port" || continue
        if listens "$p_port"; then
            bad "port $p_port ($p_name) is in use" "stop what listens there, or choose another port"
        else
            good "port $p_port ($p_name) is free"
        fi
    done <"$PRIVATE/ports"
}
listens() { # listens PORT: /proc/net/tcp has the port in hex behind the colon, state 0A is LISTEN (proc(5))
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$(printf '%04X' "$1")" '
        $4 == "0A" { n = split($2, part, ":"); if (part[n] == port) found = 1 }
        END { exit !found }'
}
check_network() {
    have curl || return 0
    w_ecr=$(ecr_endpoint)
    for w_url in "$w_ecr" "$(url_of "$REGISTRY")" "$(url_of "$LAYER_HOST")"; do
        case " ${w_done:-} " in
        *" $w_url "*) continue ;;
        esac
        w_done="${w_done:-} $w_url"
        w_headers=$(curl -sS -I --connect-timeout 10 --max-time 20 "$w_url/" 2>&1) && w_status=0 || w_status=$?
        case $w_status in
        0) good "$w_url is reachable" ;;
        5 | 6) bad "the name of $w_url cannot be resolved" "ask for a DNS entry or a proxy: curl exit status $w_status" ;;
        35 | 51 | 58 | 60 | 77) bad "the TLS connection to $w_url fails" \
            "a proxy may replace the certificate: $(printf '%s' "$w_headers" | tail -n 1)" ;;
        *) bad "$w_url is not reachable" "open the firewall for it: curl exit status $w_status" ;;
        esac
        [ "$w_status$w_url" != "0$w_ecr" ] || check_clock "$w_headers"
    done
}
check_clock() { # check_clock HEADERS: AWS refuses signatures that are 15 minutes off, and sends its own Date
    k_date=$(printf '%s\n' "$1" | tr -d '\r' | sed -n 's/^[Dd]ate: //p' | tail -n 1)
    k_there=$(printf '%s\n' "$k_date" | awk '{
        split("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec", names, " ")
        for (i = 1; i <= 12; i++) if (names[i] == $3) month = i
        split($5, t, ":"); y = $4; m = month
        if (!month || NF < 6) exit
        if (m < 3) { y--; m += 12 }
        days = 365 * y + int(y / 4) - int(y / 100) + int(y / 400) + int((153 * m - 457) / 5) + $2 - 719469
        printf "%d", ((days * 24 + t[1]) * 60 + t[2]) * 60 + t[3]
    }')
    if [ -z "$k_there" ]; then
        note "the clock was not checked: no Date in the answer of the ECR API"
        return 0
    fi
    k_off=$(($(date +%s) - k_there))
    k_off=${k_off#-}
    if [ "$k_off" -le 240 ]; then
        good "the clock is right to $k_off s"
    else
        bad "the clock is $k_off s off" "set it, preferably with NTP: AWS refuses signatures that are 15 minutes off"
    fi
}
check_access() { # whether this key can pull, and if not, why
    if [ -z "$(credential aws_access_key_id)" ]; then
        note "no access key is set up yet: neither the login was tried, nor whether $PRODUCT $VERSION was withdrawn"
        return 0
    fi
    if [ -n "$OFFLINE" ]; then
        note "with --offline neither the login was tried, nor whether $PRODUCT $VERSION was withdrawn"
        return 0
    fi
    if a_token=$(ecr_token 2>"$PRIVATE/error") && [ -n "$a_token" ]; then
        good "the access key $(credential aws_access_key_id) may log in"
    else
        bad "the login fails: $(sed -n 's/^error: //p' "$PRIVATE/error" | head -n 1)" \
            "$(sed -n '2s/^ *//p' "$PRIVATE/error")"
        return 0
    fi
    have curl || {
        check_standing ''
        return 0
    }
    for a_image in $IMAGES; do
        a_status=$(may_pull "$a_token" "$a_image")
        case $a_status in
        200) good "${a_image%@*} may be pulled" ;;
        403) bad "${a_image%@*} may not be pulled" "ask support: the key has no right to it, or was revoked" ;;
        404) bad "${a_image%@*} is not in the registry" "this release was withdrawn or is no longer supported" ;;
        401) bad "${a_image%@*}: the registry does not take the login" "run ecr-login.sh again" ;;
        *) bad "${a_image%@*}: the registry answers with HTTP status $a_status" "try again; if it fails again, tell support" ;;
        esac
    done
    check_standing "$a_token"
}
check_standing() { # check_standing TOKEN: whether the release was withdrawn
    ask_registry "$1"
    case $STANDING in
    released) good "$PRODUCT $VERSION is still released: its images have the tag $RELEASE_TAG" ;;
    withdrawn) bad "$PRODUCT $VERSION was withdrawn: $WHY" "get the newest setup zip from where you got this one, or ask support" ;;
    *) bad "whether $PRODUCT $VERSION was withdrawn cannot be checked: $WHY" "try again; if it fails again, tell support" ;;
    esac
}
