# What a kernel must show: the filter loads, is attached in the driver, drops whom it should and nobody else, and leaves
# nothing behind. The same on every kernel: busybox runs it as root, in network and mounts of its own.
#
# checks.sh PROGRAM prints `release`, `mode`, `instructions` and `passed`, each on a line of its own with its value, or
# `failed` and a sentence. Whatever else it prints explains a failure.
set -eu
program=$1

# By its path: busybox has an `ip` of its own, which knows no veth.
ip=/sbin/ip
pins=/sys/fs/bpf
work=/run/gatepost
config=$work/gatepost.toml

# Past the redirections of whoever calls it.
exec 3>&1
fail() {
    echo "failed $*" >&3
    exit 1
}

gatepost() {
    "$program" --config "$config" "$@" || fail "\`gatepost $*\` ended with code $?"
}

# The first value of a name in JSON that is printed one field a line.
value() {
    sed -n 's/^ *"'"$1"'": "\{0,1\}\([^",]*\)"\{0,1\},\{0,1\}$/\1/p' | head -n 1
}

# A gateway and, on the other end of a cable, a client with a blocked and an innocent address of each family.
make_world() {
    mount -t tmpfs tmpfs /run
    mount -t bpf bpf "$pins"
    # Some kernels are built with pins of their own in every BPF file system.
    own_pins=$(find "$pins")
    mkdir "$work"
    cat >"$config" <<-CONFIG
	name = "mx.example.test"
	state_directory = "$work/state"
	control_socket = "$work/control.sock"
	[kernel]
	interfaces = ["near"]
	attach = "native"
	[smtp]
	listen = ["203.0.113.1:25", "[2001:db8::1]:25"]
	mail_servers = "127.0.0.1:10025"
	client_address = "none"
	CONFIG
    $ip link set lo up
    $ip netns add client
    $ip link add near type veth peer name far netns client
    $ip addr add 203.0.113.1/24 dev near
    $ip addr add 2001:db8::1/32 dev near nodad
    $ip link set near up
    for address in 203.0.113.10/24 203.0.113.11/24; do
        $ip -n client addr add "$address" dev far
    done
    for address in 2001:db8:a::10/32 2001:db8:b::10/32; do
        $ip -n client addr add "$address" dev far nodad
    done
    $ip -n client link set far up
}

# A mail server that greets, and says goodbye to whatever comes.
start_mail_server() {
    cat >"$work/mail" <<-'MAIL'
	printf '220 mail.example.test\r\n'
	read -r line
	printf '221 goodbye\r\n'
	MAIL
    busybox nc -ll -p 10025 -e busybox sh "$work/mail" &
}

start_agent() {
    "$program" --config "$config" run >"$work/log" 2>&1 &
    agent=$!
    tries=0
    until "$program" --config "$config" status >"$work/status" 2>&1; do
        tries=$((tries + 1))
        kill -0 "$agent" 2>/dev/null && [ "$tries" -lt 100 ] || {
            cat "$work/log" "$work/status"
            fail "the agent does not answer"
        }
        sleep 0.2
    done
}

# What a client hears that connects from $1 to $2: a line of SMTP, or why there was no connection.
hear() {
    cat >"$work/hearing" <<-HEARING
	read -r -t 20 line
	echo "\$line" >$work/heard
	printf 'QUIT\r\n'
	HEARING
    rm -f "$work/heard"
    $ip -n client route replace "$2" dev far src "$1"
    $ip netns exec client busybox nc -w 3 "$2" 25 -e busybox sh "$work/hearing" >"$work/nc" 2>&1 || :
    cat "$work/heard" 2>/dev/null || cat "$work/nc"
}

must_hear() {
    heard=$(hear "$1" "$2")
    case $heard in
        *"$3"*) ;;
        *) fail "a client at $1 should hear \"$3\", and heard \"$heard\"" ;;
    esac
}

# $1 is blocked, $2 is not, $3 is the gateway.
must_drop_only_the_blocked() {
    # Before the block, so that the silence after it means something.
    must_hear "$1" "$3" "220 "
    gatepost block add "$1"
    must_hear "$1" "$3" "timed out"
    gatepost maps get "$1" --json >"$work/get"
    [ "$(value verdict <"$work/get")" = drop ] && [ "$(value packets <"$work/get")" -gt 0 ] || {
        cat "$work/get"
        fail "the kernel's entry for $1 shows no dropped packets"
    }
    must_hear "$2" "$3" "220 "
}

must_leave_nothing() {
    gatepost unload
    [ "$(find "$pins")" = "$own_pins" ] || fail "unload left pins:" $(find "$pins")
    case $($ip link show near) in
        *xdp*) fail "unload left a program on the interface" ;;
    esac
}

echo "release $(uname -r)"
make_world
gatepost load --interface near
gatepost maps list --json >"$work/list"
# Of the link: the first `mode` is that of the whole filter.
echo "mode $(sed -n "/\"links\"/,$ p" <"$work/list" | value mode)"
echo "instructions $(value verified_instructions <"$work/list")"
must_leave_nothing
start_mail_server
start_agent
must_drop_only_the_blocked 203.0.113.10 203.0.113.11 203.0.113.1
must_drop_only_the_blocked 2001:db8:a::10 2001:db8:b::10 2001:db8::1
kill "$agent"
wait "$agent" || fail "the agent ended with code $?"
# The filter outlives the agent: silence, where there would otherwise be a refusal.
must_hear 203.0.113.10 203.0.113.1 "timed out"
must_leave_nothing
must_hear 203.0.113.10 203.0.113.1 "refused"
echo "passed"
