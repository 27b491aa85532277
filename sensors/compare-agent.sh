#!/usr/bin/env bash
# Measures any agent that reads from an MQTT broker with the load of `make bench`: JSON
# messages of 148 B at QoS 1, as fast as the broker takes them, from four senders.
#
#   sensors/compare-agent.sh --pid PID --broker HOST:PORT --count 'COMMAND' [--messages 200000]
#
# PID    the agent's process; it must be subscribed to plant/+/row already.
# COUNT  prints how many messages the agent has processed so far, as one number.
#
# Payload: {"t":1700000000.1,"ax":1.23456789012345,"ay":…,"az":…,"bx":…,"by":…,"b":…}
# For Millwright's own agent, with one machine m0 … m3 for each of plant/m0/row … plant/m3/row:
#
#   sensors/compare-agent.sh --pid "$(pidof millwright-agent)" --broker 127.0.0.1:1883 \
#     --count "curl -s 127.0.0.1:7420/metrics | awk '/^millwright_messages_received_total/ {print int(\$2)}'"
#
# It prints what the agent took and what it cost: messages a second from the first sent to
# the last processed, CPU time a message, messages lost, largest resident set. All processes
# share the machine's cores, so compare only numbers of one machine. Needs Linux, awk, and
# sensorsim from `make build`.
set -euo pipefail
export LC_ALL=C

die() { echo "compare-agent: $*" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
pid='' broker='' count='' messages=200000 sim="$here/build/bin/sensorsim"
while [ $# -gt 0 ]; do
	[ $# -ge 2 ] || die "$1 needs a value"
	case $1 in
	--pid) pid=$2 ;;
	--broker) broker=$2 ;;
	--count) count=$2 ;;
	--messages) messages=$2 ;;
	--sensorsim) sim=$2 ;;
	*) die "unknown option $1; see the head of this file" ;;
	esac
	shift 2
done
[ -n "$pid" ] && [ -n "$broker" ] && [ -n "$count" ] || die "--pid, --broker and --count are required; see the head of this file"
[ -r "/proc/$pid/stat" ] || die "there is no process $pid"
[ -x "$sim" ] || die "there is no $sim; run make build, or say --sensorsim PATH"
[[ $messages =~ ^[1-9][0-9]*$ ]] || die "--messages: $messages is not a number"

processed() { local n; n=$(eval "$count") && [[ $n =~ ^[0-9]+$ ]] && echo "$n" || die "--count printed ${n:-nothing}, not one whole number"; }
ticks() { sed 's/.*) //' "/proc/$pid/stat" | awk '{print $12 + $13}'; } # user and system time, in 1/100 s
peak() { awk '/^VmHWM:/ {print $2}' "/proc/$pid/status"; }
now() { date +%s.%N; }

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
senders=4
rows=$((messages / senders))
messages=$((rows * senders))
{
	echo "broker: tcp://$broker"
	echo "max_inflight: 200"
	echo "machines:"
} >"$dir/sim.yaml"
for ((i = 0; i < senders; i++)); do
	awk -v rows="$rows" -v seed="$i" 'BEGIN {
		srand(seed); print "ax,ay,az,bx,by,b"
		for (i = 0; i < rows; i++) {
			line = ""
			for (j = 0; j < 6; j++) {
				x = sprintf("%.13f", 1.5 + sin(i / 7 + j) / 4 + rand() / 100)
				line = line (j ? "," : "") substr(x, 1, 14) int(1 + 9 * rand())
			}
			print line
		}
	}' >"$dir/m$i.csv"
	echo "  - {name: m$i, replay: {file: \"$dir/m$i.csv\", rate_hz: 10, speed: max}}" >>"$dir/sim.yaml"
done

before=$(processed)
cpu=$(ticks)
began=$(now)
"$sim" run --config "$dir/sim.yaml" >"$dir/sim.log" 2>&1 &
sender=$!
trap 'kill "$sender" 2>/dev/null || true; rm -rf "$dir"' EXIT
last=$before still=$(now) ended=$began
while :; do
	[ -r "/proc/$pid/stat" ] || die "the agent ended"
	n=$(processed)
	t=$(now)
	if [ "$n" != "$last" ]; then
		last=$n still=$t ended=$t
	fi
	[ $((last - before)) -ge "$messages" ] && break
	# Nothing new for ten seconds: the rest is lost.
	awk -v a="$still" -v b="$t" 'BEGIN {exit !(b - a > 10)}' && break
	sleep 0.05
done
after=$(ticks)
got=$((last - before))
awk -v got="$got" -v want="$messages" -v a="$began" -v b="$ended" -v ticks=$((after - cpu)) -v kb="$(peak)" 'BEGIN {
	if (got == 0) { print "compare-agent: the agent processed nothing: is it subscribed to plant/+/row?" > "/dev/stderr"; exit 1 }
	printf "messages_per_s %.0f\ncpu_us_per_message %.1f\nlost_messages %d\npeak_rss_mb %.1f\n", got / (b - a), ticks * 10000 / got, want - got, kb / 1000
}'
